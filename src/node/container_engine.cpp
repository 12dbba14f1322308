// Which engine this machine has, and the commands that it is given.
#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <fstream>

#include "core/read_file.h"
#include "crypto/digest.h"
#include "crypto/random.h"
#include "json/parse.h"
#include "kube/object.h"
#include "node/container.h"
#include "task/pool.h"
#include "text/text.h"

namespace mr::node {

using kube::Object;

namespace {

constexpr std::string_view kDataLabel = "millrace.dev/data", kRunLabel = "millrace.dev/run";
constexpr std::size_t kMostOutput = 4U << 20, kMostWords = 16U << 10;
constexpr long kQuickMs = 60'000;

std::string program_named(std::string_view name) {
  for (std::string_view folder : {"/usr/bin", "/bin", "/usr/local/bin", "/usr/sbin", "/usr/local/sbin"}) {
    auto path = fmt::format("{}/{}", folder, name);
    if (::access(path.c_str(), X_OK) == 0) return path;
  }
  return {};
}

// Runs a command to its end and answers its exit code (-1: it did not run); its output in `out`.
int run_blocking(const EngineCommand& command, std::string& out) {
  std::vector<char*> argv, envp;
  for (const auto& a : command.argv) argv.push_back(const_cast<char*>(a.c_str()));
  for (const auto& e : command.env) envp.push_back(const_cast<char*>(e.c_str()));
  argv.push_back(nullptr);
  envp.push_back(nullptr);
  auto pipe = make_pipe();
  if (!pipe) return -1;
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, pipe->write.get(), 1);
  posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
  posix_spawn_file_actions_addclosefrom_np(&actions, 3);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t none;
  sigemptyset(&none);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setpgroup(&attributes, 0);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETPGROUP);
  pid_t pid = 0;
  int rc = ::posix_spawn(&pid, argv[0], &actions, &attributes, argv.data(), envp.data());
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  pipe->write.reset();
  if (rc != 0) return -1;
  char buffer[16 * 1024];
  for (ssize_t n = 0; (n = ::read(pipe->read.get(), buffer, sizeof buffer)) != 0;) {
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) break;
    if (out.size() < kMostOutput) out.append(buffer, static_cast<std::size_t>(n));
  }
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0)
    if (errno != EINTR) return -1;
  return exit_code(status);
}

bool not_empty(const char* file) { return !read_or_empty(file, 1).empty(); }

Result<Engine> find_podman(const std::string& program) {
  Engine e{.program = program, .podman = true};
  std::string out;
  int code = run_blocking(engine_command(e, {"info", "--format", "json"}), out);
  auto info = code == 0 ? json::parse(out) : fail(Code::unavailable, "no answer");
  if (!info || !info->is_object())
    return fail(Code::unavailable, "podman is installed but does not work here: `podman info` says why",
                "ErrImagePull");
  const Object& o = info->get_object();
  e.version = kube::text_at(o, "version.Version");
  for (const auto& c : kube::array_at(o, "host.cgroupControllers")) {
    if (!c.is_string()) continue;
    e.memory = e.memory || c.get_string() == "memory";
    e.cpus = e.cpus || c.get_string() == "cpu";
  }
  const bool first = kube::text_at(o, "host.cgroupVersion") == "v1";
  e.rootless = kube::bool_at(o, "host.security.rootless");
  if (first && e.rootless) e.memory = e.cpus = false;  // it says so itself, and ignores them
  e.own_groups = first && !e.rootless && kube::text_at(o, "host.cgroupManager") == "cgroupfs";
  // crun does not run where controllers are split between both versions; runc does.
  if (first && kube::text_at(o, "host.ociRuntime.name") == "crun" &&
      not_empty("/sys/fs/cgroup/unified/cgroup.controllers"))
    if (auto runc = program_named("runc"); !runc.empty()) e.before = {"--runtime", runc};
  return e;
}

Result<Engine> find_docker(const std::string& program) {
  Engine e{.program = program, .podman = false};
  std::string out;
  int code = run_blocking(engine_command(e, {"info", "--format", "{{json .}}"}), out);
  auto info = json::parse(text::trim(out));
  if (code != 0 || !info || !info->is_object() || kube::text_at(info->get_object(), "ServerVersion").empty())
    return fail(Code::unavailable, "docker is installed but its daemon does not answer: start it, or install podman",
                "ErrImagePull");
  const Object& o = info->get_object();
  e.version = kube::text_at(o, "ServerVersion");
  e.memory = kube::bool_at(o, "MemoryLimit");
  e.cpus = kube::bool_at(o, "CpuCfsQuota");
  return e;
}

}  // namespace

Result<Engine> find_engine(const std::string& choice) {
  if (choice == "none")
    return fail(Code::unavailable, "containers are switched off (--container-engine none)", "ErrImagePull");
  std::optional<Error> why;
  for (std::string_view name : {"podman", "docker"}) {
    if (choice != "auto" && choice != name) continue;
    auto program = program_named(name);
    if (program.empty()) continue;
    auto found = name == "podman" ? find_podman(program) : find_docker(program);
    if (found) return found;
    // The first choice's trouble is the one to mend.
    if (!why) why = found.error();
  }
  if (why) return std::unexpected(*why);
  return fail(Code::unavailable,
              choice == "docker" ? "docker is not on this machine: install it, or podman"
                                 : "install podman and such images are pulled and run in containers",
              "ErrImagePull");
}

namespace {

std::vector<std::string> lines_of(const Engine& e, std::vector<std::string> args) {
  std::string out;
  std::vector<std::string> lines;
  if (run_blocking(engine_command(e, std::move(args)), out) != 0) return lines;
  for (auto line : text::split(out, '\n'))
    if (!text::trim(line).empty()) lines.emplace_back(text::trim(line));
  return lines;
}

void remove_all(const Engine& e, const std::vector<std::string>& which) {
  if (which.empty()) return;
  std::vector<std::string> args{"rm", "--force", "--volumes"};
  if (e.podman) args.insert(args.end(), {"--time", "0", "--ignore"});
  args.insert(args.end(), which.begin(), which.end());
  std::string out;
  run_blocking(engine_command(e, std::move(args)), out);
}

// Processes that have to do with containers of this prefix: the engine's clients (true) or their monitors.
std::vector<pid_t> processes_of(const std::string& prefix, bool clients) {
  std::vector<pid_t> out;
  std::error_code ec;
  for (const auto& entry : std::filesystem::directory_iterator("/proc", ec)) {
    auto pid = text::to_i64(entry.path().filename().string());
    if (!pid || *pid == ::getpid()) continue;
    auto line = read_or_empty((entry.path() / "cmdline").string());
    auto program = std::string_view(line).substr(0, line.find('\0'));
    if (auto slash = program.rfind('/'); slash != std::string_view::npos) program.remove_prefix(slash + 1);
    if ((clients ? program == "podman" || program == "docker" : program == "conmon") &&
        line.contains(std::string(1, '\0') + prefix))
      out.push_back(static_cast<pid_t>(*pid));
  }
  return out;
}

}  // namespace

void clear_containers(const Engine& e, const std::string& label, const std::string& prefix) {
  remove_all(e, lines_of(e, {"ps", "--all", "--quiet", "--no-trunc", "--filter", "label=" + label}));
  if (!e.podman) return;
  // What was killed while podman made it.
  std::vector<std::string> unfinished;
  for (auto& name : lines_of(e, {"ps", "--all", "--external", "--format", "{{.Names}}"}))
    if (name.starts_with(prefix)) unfinished.push_back(std::move(name));
  remove_all(e, unfinished);
  for (auto pid : processes_of(prefix, false)) {
    std::ifstream children(fmt::format("/proc/{0}/task/{0}/children", pid));
    for (pid_t child = 0; children >> child;) ::kill(child, SIGKILL);
    ::kill(pid, SIGKILL);
  }
}

void remove_folder(const std::optional<Engine>& e, const std::string& folder) {
  std::error_code ec;
  std::filesystem::remove_all(folder, ec);
  if (!ec || !e || !e->podman || !e->rootless) return;
  // Inside the engine's user namespace they are its own.
  std::string out;
  run_blocking(engine_command(*e, {"unshare", "rm", "-rf", "--", folder}), out);
}

void guard_containers(const std::string& choice, const std::string& label, const std::string& prefix, int fd) {
  char byte = 0;
  for (ssize_t n = 1; n != 0;) {
    n = ::read(fd, &byte, 1);
    if (n < 0 && errno != EINTR) return;
  }
  auto engine = find_engine(choice);
  // Commands that were under way end what they do, so that nothing is left half made; then it is removed as well.
  constexpr int kMostLooks = 40;
  for (int i = 1; engine; ++i) {
    auto clients = processes_of(prefix, true);
    // One that does not come to an end is broken off after all.
    if (i == kMostLooks)
      for (auto pid : clients) ::kill(pid, SIGKILL);
    if (clients.empty() || i == kMostLooks) {
      clear_containers(*engine, label, prefix);
      return;
    }
    // One that waits for its container's end ends with it.
    if (i % 5 == 1) remove_all(*engine, lines_of(*engine, {"ps", "--all", "--quiet", "--filter", "label=" + label}));
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
}

Containers::Containers(std::string choice, std::string data_folder, std::string guard)
    : choice_(std::move(choice)),
      data_folder_(std::move(data_folder)),
      guard_program_(std::move(guard)),
      data_prefix_(
          fmt::format("millrace-{}-", text::hex(crypto::digest(crypto::Algorithm::sha256, data_folder_)).substr(0, 8))),
      run_(crypto::random_hex(8)) {}

std::vector<std::pair<std::string, std::string>> Containers::labels() const {
  return {{std::string(kDataLabel), data_folder_}, {std::string(kRunLabel), run_}};
}

task::Task<void> Containers::begin() {
  auto self = shared_from_this();
  // Nothing is asked of an engine where none was ever used.
  std::error_code ec;
  if (std::filesystem::exists(data_folder_ + "/node/containers", ec)) (void)co_await engine();
}

void Containers::clear() {
  if (engine_) clear_containers(*engine_, fmt::format("{}={}", kRunLabel, run_), prefix());
}

task::Task<Result<Engine>> Containers::engine() {
  if (engine_) co_return *engine_;
  auto guard = co_await looking_.lock();
  if (engine_) co_return *engine_;
  auto found =
      co_await task::run_on(task::disk_pool(),
                            [choice = choice_, label = fmt::format("{}={}", kDataLabel, data_folder_),
                             prefix = data_prefix_, mark = data_folder_ + "/node/containers"]() -> Result<Engine> {
                              MR_TRY(auto e, find_engine(choice));
                              std::error_code ec;
                              if (std::filesystem::exists(mark, ec))
                                clear_containers(e, label, prefix);
                              else
                                std::ofstream(mark) << e.name() << '\n';
                              return e;
                            });
  if (!found) co_return fail(Code::unavailable, "this machine is too busy to look for a container engine");
  if (!*found) co_return std::unexpected(found->error());
  engine_ = **found;
  start_guard();
  co_return *engine_;
}

// What dies with this program's process are the engine's clients; the containers would go on.
void Containers::start_guard() {
  if (guard_program_.empty() || guard_) return;
  auto pipe = make_pipe();
  if (!pipe) return;
  std::vector<std::string> words{"millrace", "containers-guard", std::string(engine_->name()),
                                 fmt::format("{}={}", kRunLabel, run_), prefix()};
  auto env = engine_environment();
  std::vector<char*> argv, envp;
  for (auto& w : words) argv.push_back(w.data());
  for (auto& e : env) envp.push_back(e.data());
  argv.push_back(nullptr);
  envp.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, pipe->read.get(), 0);
  for (int fd : {1, 2}) posix_spawn_file_actions_addopen(&actions, fd, "/dev/null", O_WRONLY, 0);
  posix_spawn_file_actions_addclosefrom_np(&actions, 3);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID);
  pid_t pid = 0;
  if (::posix_spawn(&pid, guard_program_.c_str(), &actions, &attributes, argv.data(), envp.data()) == 0)
    guard_ = std::move(pipe->write);
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
}

void Containers::Call::cancel() {
  cancelled = true;
  if (process != nullptr) process->kill(SIGKILL);
}

namespace {

task::Task<void> collect(std::shared_ptr<http::ByteStream> from, std::string& into, std::size_t most) {
  for (;;) {
    auto piece = co_await from->read();
    if (!piece || piece->empty()) co_return;
    into += *piece;
    // Of what is too long, the end says why it failed.
    if (into.size() > most) into.erase(0, into.size() - most);
  }
}

}  // namespace

task::Task<Result<Containers::Said>> Containers::run(EngineCommand command, long timeout_ms,
                                                     std::shared_ptr<Call> call) {
  if (call && call->cancelled) co_return fail(Code::cancelled, "cancelled");
  SpawnOptions o;
  o.argv = std::move(command.argv);
  o.env = std::move(command.env);
  o.folder = std::move(command.folder);
  o.outlives = true;  // a step that is broken off leaves things that the engine does not know
  MR_CO_TRY(auto out, make_pipe());
  MR_CO_TRY(auto err, make_pipe());
  o.out = out.write.get();
  o.err = err.write.get();
  task::Event over;
  int status = 0;
  auto process = Process::start(o, [&](int s) {
    status = s;
    over.set();
  });
  if (!process) co_return std::unexpected(process.error());
  out.write.reset();
  err.write.reset();
  if (call) call->process = process->get();
  std::shared_ptr<http::ByteStream> outs = stream_of(std::move(out.read)), errs = stream_of(std::move(err.read));
  Said said;
  task::Group readers;
  readers.spawn(collect(outs, said.out, kMostOutput));
  readers.spawn(collect(errs, said.err, kMostWords));
  bool late = false;
  task::Timer timer, linger;
  if (timeout_ms > 0)
    timer.start(timeout_ms, [&] {
      late = true;
      (*process)->kill(SIGKILL);
    });
  co_await over.wait();
  timer.cancel();
  // What it leaves running (a container's monitor) may hold the pipes: its words are there already.
  linger.start(500, [&] {
    outs->close();
    errs->close();
  });
  co_await readers.join();
  linger.cancel();
  if (call) call->process = nullptr;
  if (call && call->cancelled) co_return fail(Code::cancelled, "cancelled");
  if (late) co_return fail(Code::deadline_exceeded, "the container engine does not answer");
  said.code = exit_code(status);
  co_return said;
}

task::Task<Result<EngineImage>> Containers::image(Engine e, std::string name) {
  auto whole = full_image_name(name);
  for (const auto& one : {name, whole}) {
    MR_CO_TRY(auto said, co_await run(engine_command(e, {"image", "inspect", "--", one}), kQuickMs));
    if (said.code != 0) continue;
    auto list = json::parse(said.out);
    if (!list || !list->is_array() || list->get_array().empty() || !list->get_array()[0].is_object()) break;
    const auto& o = list->get_array()[0].get_object();
    EngineImage i;
    i.id = kube::text_at(o, "Id");
    i.digest = i.id.starts_with("sha256:") ? i.id : "sha256:" + i.id;
    if (const auto& digests = kube::array_at(o, "RepoDigests"); !digests.empty() && digests[0].is_string())
      i.digest = std::string(digests[0].get_string());
    i.user = kube::text_at(o, "Config.User");
    i.stop_signal = kube::text_at(o, "Config.StopSignal", "SIGTERM");
    co_return i;
  }
  co_return fail(Code::not_found, "image not known");
}

task::Task<Result<void>> Containers::pull(Engine e, std::string name, std::string auth_file,
                                          std::shared_ptr<Call> call) {
  std::vector<std::string> args;
  if (!e.podman && !auth_file.empty()) args = {"--config", std::filesystem::path(auth_file).parent_path().string()};
  args.insert(args.end(), {"pull", "--quiet"});
  if (e.podman && !auth_file.empty()) args.insert(args.end(), {"--authfile", auth_file});
  args.insert(args.end(), {"--", full_image_name(name)});
  auto command = engine_command(e, std::move(args));
  MR_CO_TRY(auto said, co_await run(std::move(command), 0, std::move(call)));
  if (said.code != 0) co_return fail(Code::unavailable, engine_words(said.err), "ErrImagePull");
  co_return Result<void>{};
}

task::Task<Result<Containers::State>> Containers::state(Engine e, std::string name) {
  MR_CO_TRY(
      auto said,
      co_await run(engine_command(e, {"container", "inspect", "--format", "{{json .State}}", "--", name}), kQuickMs));
  auto found = json::parse(text::trim(said.out));
  if (said.code != 0 || !found || !found->is_object()) co_return fail(Code::not_found, engine_words(said.err));
  const auto& o = found->get_object();
  State s;
  auto status = kube::text_at(o, "Status");
  s.running = status == "running" || status == "paused";
  s.ran = s.running || status == "exited" || status == "stopped" || status == "stopping" || status == "dead";
  s.exit_code = static_cast<int>(kube::int_at(o, "ExitCode"));
  s.pid = static_cast<int>(kube::int_at(o, "Pid"));
  s.oom = kube::bool_at(o, "OOMKilled");
  s.error = kube::text_at(o, "Error");
  // docker counts a command that could not be started among those that have exited.
  if (!s.running && !s.error.empty() && (s.exit_code == 127 || s.exit_code == 126)) s.ran = false;
  co_return s;
}

task::Task<void> Containers::remove(Engine e, std::string name) {
  std::vector<std::string> args{"rm", "--force", "--volumes"};
  if (e.podman) args.insert(args.end(), {"--time", "0", "--ignore"});
  args.insert(args.end(), {"--", std::move(name)});
  (void)co_await run(engine_command(e, std::move(args)), kQuickMs);
}

}  // namespace mr::node
