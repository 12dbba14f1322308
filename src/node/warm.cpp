#include "node/warm.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <csignal>
#include <fstream>

#include "core/read_file.h"
#include "crypto/random.h"
#include "json/parse.h"
#include "log/log.h"
#include "node/warm_program.h"
#include "node/worker.h"
#include "task/event.h"
#include "task/pool.h"
#include "text/text.h"

namespace mr::node {

namespace fs = std::filesystem;

namespace {

constexpr long kIdleMs = 600'000, kStartMs = 60'000;

// util-linux's programs; empty when they are not there.
const std::string& util_program(bool enter) {
  static const auto find = [](const char* name) {
    auto path = fmt::format("/usr/bin/{}", name);
    return ::access(path.c_str(), X_OK) == 0 ? path : std::string();
  };
  static const std::string nsenter = find("nsenter"), unshare = find("unshare");
  return enter ? nsenter : unshare;
}

std::vector<int> children(int pid) {
  std::vector<int> all;
  std::ifstream in(fmt::format("/proc/{0}/task/{0}/children", pid));
  for (int one = 0; in >> one;) all.push_back(one);
  return all;
}

std::string process_namespace(int pid) {
  std::error_code ec;
  return fs::read_symlink(fmt::format("/proc/{}/ns/pid", pid), ec).string();
}

}  // namespace

bool can_be_warm(const SandboxSpec& s) {
  if (s.image.kind != Image::Kind::python || s.command.size() < 2) return false;
  if (s.command[0] != "python3" && s.command[0] != "python") return false;
  if (!s.command[1].starts_with('/') || !s.command[1].ends_with(".py")) return false;
  return std::ranges::none_of(s.env, [](const auto& e) {
    const auto& [name, value] = e;
    if (name == "LD_PRELOAD") return value != "/run/millrace/bind.so";
    // Those that the node sets itself do not change an interpreter.
    if (name == "PYTHONUNBUFFERED" || name == "PYTHON_VERSION") return false;
    return name.starts_with("PYTHON") || name.starts_with("LD_") || name.starts_with("MALLOC_") || name == "LC_ALL" ||
           (name == "LANG" && value != "C.UTF-8");
  });
}

WarmInterpreter::~WarmInterpreter() {
  process_.reset();
  if (!folder_.empty())
    (void)task::disk_pool().submit([folder = folder_] {
      std::error_code ec;
      fs::remove_all(folder, ec);
    });
}

std::vector<std::string> WarmInterpreter::beside(std::vector<std::string> command) const {
  // The new processes see a /proc of the namespace that they are in: bubblewrap looks itself up there.
  std::vector<std::string> all{
      util_program(true),  "-t",      std::to_string(pid_), "-U", "-p", "--preserve-credentials", "--",
      util_program(false), "--mount", "--mount-proc",       "--"};
  all.insert(all.end(), std::make_move_iterator(command.begin()), std::make_move_iterator(command.end()));
  return all;
}

Result<void> WarmInterpreter::run(const WarmStep& step) {
  boost::json::object job, env;
  for (const auto& [name, value] : step.env) env[name] = value;
  boost::json::array argv;
  for (const auto& a : step.argv) argv.emplace_back(a);
  job["env"] = std::move(env);
  job["argv"] = std::move(argv);
  job["folder"] = step.working_dir;
  job["capabilities"] = step.keeps_capabilities;
  auto text = json::serialize(boost::json::value(std::move(job)));
  std::vector<Fd> opened;
  std::vector<int> fds{step.out, step.err, step.code};
  auto open = [&](const std::string& path, int flags) -> Result<void> {
    opened.emplace_back(::open(path.c_str(), flags | O_CLOEXEC));
    if (!opened.back()) return fail_errno(path, errno);
    fds.push_back(opened.back().get());
    return {};
  };
  for (auto kind : {"user", "ipc", "uts", "pid", "mnt"})
    MR_CHECK(open(fmt::format("/proc/{}/ns/{}", step.init_pid, kind), O_RDONLY));
  for (const auto& group : step.cgroups) MR_CHECK(open(group, O_WRONLY));
  iovec data{text.data(), text.size()};
  std::vector<char> control(CMSG_SPACE(fds.size() * sizeof(int)));
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  auto* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(fds.size() * sizeof(int));
  std::memcpy(CMSG_DATA(header), fds.data(), fds.size() * sizeof(int));
  if (::sendmsg(control_.get(), &message, MSG_NOSIGNAL | MSG_DONTWAIT) != static_cast<ssize_t>(text.size()))
    return fail_errno("the waiting interpreter", errno);
  used_ms_ = mono_ms();
  return {};
}

int WarmInterpreter::process_in(int init_pid) const {
  const auto inside = process_namespace(init_pid);
  if (inside.empty()) return -1;
  for (int waiting : children(pid_))
    for (int one : children(waiting))
      if (process_namespace(one) == inside) return one;
  return -1;
}

struct WarmInterpreters::Entry {
  std::shared_ptr<WarmInterpreter> ready;
  bool starting = false, refused = false;
};

struct WarmInterpreters::State {
  std::map<std::string, Entry> entries;
  int limit = 0;
  bool stopped = false;
  task::Timer idle;

  [[nodiscard]] int count() const {
    return static_cast<int>(
        std::ranges::count_if(entries, [](const auto& e) { return e.second.ready || e.second.starting; }));
  }
  void drop_oldest() {
    auto oldest = entries.end();
    for (auto it = entries.begin(); it != entries.end(); ++it)
      if (it->second.ready && (oldest == entries.end() || it->second.ready->used_ms_ < oldest->second.ready->used_ms_))
        oldest = it;
    if (oldest != entries.end()) entries.erase(oldest);
  }
  static void look_later(const std::shared_ptr<State>& self) {
    self->idle.start(kIdleMs / 10, [weak = std::weak_ptr(self)] {
      auto s = weak.lock();
      if (!s || s->stopped) return;
      std::erase_if(s->entries, [](const auto& e) {
        return e.second.ready &&
               (mono_ms() - e.second.ready->used_ms_ > kIdleMs || !e.second.ready->process_->running());
      });
      look_later(s);
    });
  }
};

WarmInterpreters::~WarmInterpreters() { stop(); }

void WarmInterpreters::stop() {
  if (!state_) return;
  state_->stopped = true;
  state_->idle.cancel();
  state_->entries.clear();
}

std::shared_ptr<WarmInterpreter> WarmInterpreters::get(const SandboxSpec& step, const std::string& ns,
                                                       const std::string& imports) {
  if (limit_ <= 0 || util_program(true).empty() || util_program(false).empty() || !can_be_warm(step)) return nullptr;
  if (!state_) {
    state_ = std::make_shared<State>();
    state_->limit = limit_;
    State::look_later(state_);
  }
  if (state_->stopped) return nullptr;
  auto key = fmt::format("{}\n{}\n{}\n{}", ns, step.image.python.path, step.env_folder, imports);
  auto& entry = state_->entries[key];
  if (entry.ready && !entry.ready->process_->running()) entry.ready.reset();
  if (entry.ready || entry.starting || entry.refused) return entry.ready;
  entry.starting = true;
  if (state_->count() > limit_) state_->drop_oldest();
  SandboxSpec spec;
  spec.image = step.image;
  auto folder = fmt::format("{}/{}", folder_, crypto::random_hex(8));
  spec.folder = folder + "/interpreter";
  spec.etc_folder = folder + "/etc";
  spec.cache_folder = step.cache_folder;
  spec.env_folder = step.env_folder;
  spec.bind_shim = step.bind_shim;
  spec.host_name = "interpreter";
  spec.working_dir = "/";
  for (const auto& [name, value] : step.env)
    if (name == "PATH" || name == "HOME" || name == "LANG" || name == "LD_PRELOAD") spec.env.emplace_back(name, value);
  task::detach(start(state_, std::move(key), std::move(spec), imports));
  return nullptr;
}

task::Task<void> WarmInterpreters::start(std::shared_ptr<State> state, std::string key, SandboxSpec spec,
                                         std::string imports) {
  auto made = co_await launch(spec, imports);
  if (state->stopped) co_return;
  auto& entry = state->entries[key];
  entry.starting = false;
  if (made) {
    entry.ready = std::move(*made);
    entry.ready->used_ms_ = mono_ms();
  } else {
    // It would fail again: such steps start an interpreter of their own.
    entry.refused = true;
    log::info("steps start interpreters of their own", {{"reason", made.error().message}});
  }
}

task::Task<Result<std::shared_ptr<WarmInterpreter>>> WarmInterpreters::launch(SandboxSpec spec, std::string imports) {
  std::shared_ptr<WarmInterpreter> w(new WarmInterpreter);
  w->folder_ = fs::path(spec.folder).parent_path().string();
  MR_CO_CHECK(make_container_folder(spec));
  MR_CO_CHECK(make_etc(spec.etc_folder, spec.host_name, 0, 0));
  write_hosts(spec.etc_folder, "127.0.0.1", spec.host_name, {}, {});
  std::ofstream(spec.folder + "/tmp/wait.py") << kWarmProgram;
  spec.command = {"python3", "/tmp/wait.py"};
  for (auto word : text::split(imports, ' '))
    if (!word.empty()) spec.command.emplace_back(word);
  MR_CO_TRY(auto bubblewrap, find_bubblewrap());
  spec.status_fd = 4;
  MR_CO_TRY(auto command, sandbox_command(spec, bubblewrap));

  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) co_return fail_errno("socketpair", errno);
  w->control_ = Fd(ends[0]);
  Fd theirs(ends[1]);
  MR_CO_TRY(auto status, make_pipe());
  auto log = w->folder_ + "/log";
  Fd said(::open(log.c_str(), O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC, 0640));
  SpawnOptions o;
  o.argv = std::move(command.argv);
  o.env = std::move(command.env);
  o.out = o.err = said.get();
  o.fds = {{theirs.get(), 3}, {status.write.get(), 4}};
  MR_CO_TRY(w->process_, Process::start(o, [](int) {}));
  theirs = Fd();
  status.write.reset();

  // What does not stand by in time does not.
  task::Timer timer;
  timer.start(kStartMs, [weak = std::weak_ptr(w)] {
    if (auto self = weak.lock(); self && self->process_) self->process_->kill(SIGKILL);
  });
  auto reports = stream_of(std::move(status.read));
  int init = -1;
  for (std::string text; init < 0 && text.size() < 65536;) {
    auto piece = co_await reports->read();
    if (!piece || piece->empty()) break;
    text += *piece;
    if (auto end = text.find('\n'); end != std::string::npos)
      if (auto report = json::parse(std::string_view(text).substr(0, end)); report && report->is_object())
        init = static_cast<int>(kube::int_at(report->get_object(), "child-pid", -1));
  }
  auto ready = stream_of(Fd(::fcntl(w->control_.get(), F_DUPFD_CLOEXEC, 3)));
  auto word = co_await ready->read();
  if (!word || *word != "ready" || init <= 0) {
    auto tail = read_or_empty(log);
    if (tail.size() > 500) tail = tail.substr(tail.size() - 500);
    co_return fail(Code::unavailable, fmt::format("a waiting interpreter did not start: {}", text::trim(tail)));
  }
  w->pid_ = main_process(init);

  // Whether a sandbox can be made beside it: not where /proc is masked, or namespaces may not be nested.
  task::Event over;
  int result = -1;
  SpawnOptions probe;
  probe.argv = w->beside({bubblewrap, "--unshare-user", "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--ro-bind",
                          "/", "/", "--proc", "/proc", "--dev", "/dev", "/bin/true"});
  MR_CO_TRY(auto tried, Process::start(probe, [&](int s) {
              result = s;
              over.set();
            }));
  co_await over.wait();
  if (result != 0) co_return fail(Code::unavailable, "a sandbox cannot be made beside a waiting interpreter here");
  co_return w;
}

}  // namespace mr::node
