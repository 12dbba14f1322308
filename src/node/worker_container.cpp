// Containers that an engine of this machine runs: their image, their making, their end.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>

#include "crypto/random.h"
#include "json/parse.h"
#include "node/worker.h"
#include "text/text.h"

namespace mr::node {

namespace fs = std::filesystem;
using kube::Object;

namespace {

constexpr long kMakeMs = 120'000;
constexpr int kLooks = 500;  // for the running container, 20 ms apart at first

// The value at `path` of the container's security context, or else of the pod's.
std::optional<long> security_number(const Object& pod, const Object& container, const char* path) {
  for (const auto* v : {kube::at(container, fmt::format("securityContext.{}", path)),
                        kube::at(pod, fmt::format("spec.securityContext.{}", path))})
    if (v != nullptr && v->is_int64()) return static_cast<long>(v->get_int64());
  return std::nullopt;
}

std::vector<std::string> names_at(const Object& o, std::string_view path) {
  std::vector<std::string> out;
  for (const auto& v : kube::array_at(o, path))
    if (v.is_string()) out.emplace_back(v.get_string());
  return out;
}

// The kubelet's words on who may not run, or nothing.
std::string refused_user(std::string_view label, std::string_view container, std::optional<long> uid,
                         const std::string& image_user) {
  auto name = image_user.substr(0, image_user.find(':'));
  auto number = text::to_i64(name);
  if (uid ? *uid == 0 : name.empty() || name == "root" || (number && *number == 0))
    return fmt::format("container has runAsNonRoot and image will run as root (pod: \"{}\", container: {})", label,
                       container);
  if (!uid && !number)
    return fmt::format(
        "container has runAsNonRoot and image has non-numeric user ({}), cannot verify user is non-root (pod: \"{}\", "
        "container: {})",
        name, label, container);
  return {};
}

}  // namespace

// The image as its policy wants it: from this machine, or pulled.
task::Task<Result<EngineImage>> Worker::take_image(Container& c, Engine engine, bool& pulled) {
  MR_CO_TRY(auto name, parse_image(c.image));
  auto policy = kube::text_at(c.spec, "imagePullPolicy", name.tag == "latest" ? "Always" : "IfNotPresent");
  auto here = co_await Containers::image(engine, c.image);
  if (!here && here.error().code != Code::not_found)
    co_return fail(Code::unavailable, here.error().message, "ErrImagePull");
  if (policy == "Never") {
    if (here) co_return std::move(*here);
    auto message = fmt::format("Container image \"{}\" is not present with pull policy of Never", c.image);
    if (c.failure != "ErrImageNeverPull") event("Warning", "ErrImageNeverPull", message);
    co_return fail(Code::unavailable, std::move(message), "ErrImageNeverPull");
  }
  if (here && policy != "Always") co_return std::move(*here);
  event("Normal", "Pulling", fmt::format("Pulling image \"{}\"", c.image));
  if (c.state == State::waiting && c.failure.empty()) {
    c.waiting_reason = "ContainerCreating";
    co_await write_status();
  }
  auto before = mono_ms();
  auto auth = co_await pull_credentials();
  auto call = pull_ = std::make_shared<Containers::Call>();
  cancel_pull();
  auto done = co_await Containers::pull(engine, c.image, auth, std::move(call));
  pull_.reset();
  if (!auth.empty()) ::unlink(auth.c_str());
  if (!done) co_return std::unexpected(done.error());
  auto took = static_cast<double>(mono_ms() - before) / 1000;
  event("Normal", "Pulled",
        fmt::format("Successfully pulled image \"{}\" in {:.3f}s ({:.3f}s including waiting)", c.image, took, took));
  pulled = true;
  auto now = co_await Containers::image(engine, c.image);
  if (!now) co_return fail(Code::unavailable, now.error().message, "ErrImagePull");
  co_return std::move(*now);
}

// What the pod's imagePullSecrets say, as one file for the engine; empty when they say nothing.
task::Task<std::string> Worker::pull_credentials() {
  Object auths;
  for (const auto& v : kube::array_at(*pod_, "spec.imagePullSecrets")) {
    if (!v.is_object()) continue;
    auto secret = co_await ctx_->find(kube::gvr::secrets, {std::string(kube::namespace_of(*pod_)),
                                                           std::string(kube::text_at(v.get_object(), "name"))});
    if (!secret) continue;
    // The key has a dot of its own, which a path cannot say.
    const auto* data = kube::object_at(*secret, "data").if_contains(".dockerconfigjson");
    if (data == nullptr || !data->is_string()) continue;
    auto config = json::parse(text::base64_decode(data->get_string()).value_or(""));
    if (!config || !config->is_object()) continue;
    for (const auto& [registry, entry] : kube::object_at(config->get_object(), "auths")) auths[registry] = entry;
  }
  if (auths.empty()) co_return std::string();
  auto folder = folder_ + "/pull";
  std::error_code ec;
  fs::create_directories(folder, ec);
  auto file = folder + "/config.json";
  Fd fd(::open(file.c_str(), O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600));
  auto text = json::serialize(Object{{"auths", std::move(auths)}});
  if (!fd || ::write(fd.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size())) co_return std::string();
  co_return file;
}

task::Task<Result<void>> Worker::launch_container(Container& c, EngineImage image, Env env, std::vector<Mount> mounts) {
  const Object& spec = c.spec;
  const Engine engine = *c.engine;
  std::map<std::string, std::string> values(env.begin(), env.end());
  ContainerSpec s;
  s.image = image.id;
  s.name = fmt::format("{}{}-{}-{}-{}", ctx_->containers->prefix(), uid_, c.name, c.restarts, crypto::random_hex(4));
  s.labels = ctx_->containers->labels();
  for (auto [k, v] : {std::pair<std::string_view, std::string_view>{"pod.name", kube::name_of(*pod_)},
                      {"pod.namespace", kube::namespace_of(*pod_)},
                      {"pod.uid", uid_},
                      {"container.name", c.name}})
    s.labels.emplace_back(fmt::format("io.kubernetes.{}", k), v);
  s.host_name = kube::text_at(*pod_, "spec.hostname", kube::name_of(*pod_));
  s.uid = security_number(*pod_, spec, "runAsUser");
  s.gid = security_number(*pod_, spec, "runAsGroup");
  if (kube::bool_at(spec, "securityContext.runAsNonRoot", kube::bool_at(*pod_, "spec.securityContext.runAsNonRoot")))
    if (auto why = refused_user(label_, c.name, s.uid, image.user); !why.empty())
      co_return fail(Code::failed_precondition, std::move(why), "CreateContainerConfigError");
  if (auto group = security_number(*pod_, spec, "fsGroup")) s.groups.push_back(*group);
  for (const auto& v : kube::array_at(*pod_, "spec.securityContext.supplementalGroups"))
    if (v.is_int64()) s.groups.push_back(static_cast<long>(v.get_int64()));
  s.add_capabilities = names_at(spec, "securityContext.capabilities.add");
  s.drop_capabilities = names_at(spec, "securityContext.capabilities.drop");
  s.privileged = kube::bool_at(spec, "securityContext.privileged");
  s.no_new_privileges = !kube::bool_at(spec, "securityContext.allowPrivilegeEscalation", true);
  s.read_only_root = kube::bool_at(spec, "securityContext.readOnlyRootFilesystem");
  s.host_pid = kube::bool_at(*pod_, "spec.hostPID");
  s.host_ipc = kube::bool_at(*pod_, "spec.hostIPC");
  s.terminal = kube::bool_at(spec, "tty");
  s.in = kube::bool_at(spec, "stdin");
  s.working_dir = kube::text_at(spec, "workingDir");
  s.command = texts_at(spec, "command", values);
  s.args = texts_at(spec, "args", values);

  c.sandbox = {};
  c.sandbox.folder = folder_ + "/containers/" + c.name;
  c.sandbox.command = s.command.empty() ? s.args : s.command;
  std::error_code ec;
  fs::remove_all(c.sandbox.folder, ec);
  fs::create_directories(c.sandbox.folder + "/work", ec);
  if (ec) co_return fail(Code::internal, fmt::format("{}: {}", c.sandbox.folder, ec.message()));
  auto termination = c.sandbox.folder + "/termination-log";
  std::ofstream(termination).flush();
  // Who runs inside may be any user.
  ::chmod(termination.c_str(), 0666);
  ::chmod((c.sandbox.folder + "/work").c_str(), 0777);
  s.mounts = std::move(mounts);
  s.mounts.push_back({termination, "/dev/termination-log", false});
  if (std::ranges::none_of(s.mounts, [](const Mount& m) { return m.target == "/etc/hosts"; }))
    s.hosts_file = folder_ + "/etc/hosts";
  if (!kube::bool_at(*pod_, "spec.hostNetwork") && !ctx_->bind_shim.empty()) {
    s.mounts.push_back({ctx_->bind_shim, "/run/millrace/bind.so", true});
    if (!values.contains("LD_PRELOAD")) env.emplace_back("LD_PRELOAD", "/run/millrace/bind.so");
    env.emplace_back("MILLRACE_POD_IP", pod_ip_);
  }
  s.env = std::move(env);
  s.limits = limits_of(spec);
  c.memory_limit = s.limits.memory;
  bool counted = s.limits.memory <= 0 || engine.memory;
  if (engine.own_groups) {
    c.cgroup = Cgroup::make(fmt::format("{}-{}-{}", uid_, c.name, c.restarts), s.limits, true);
    if (c.cgroup) s.group = "/" + c.cgroup->name();
  }

  auto failed = [](const Result<Containers::Said>& r) {
    return r ? engine_words(r->err) : std::string(r.error().message);
  };
  auto create = [&] { return Containers::run(create_command(engine, s), kMakeMs); };
  auto made = co_await create();
  if (!made || made->code != 0) co_return fail(Code::failed_precondition, failed(made), "CreateContainerError");
  c.engine_name = s.name;
  c.stop_signal = image.stop_signal;
  c.id = fmt::format("{}://{}", engine.name(), text::trim(made->out));
  // podman prepares in a step of its own: what goes wrong there is not the container's output.
  // It runs in a folder of the container's: its monitor leaves a file `oom` where it was started.
  auto init = [&] {
    auto command = engine_command(engine, {"init", s.name});
    command.folder = c.sandbox.folder;
    return Containers::run(std::move(command), kMakeMs);
  };
  if (engine.podman) {
    auto ready = co_await init();
    if ((!ready || ready->code != 0) && failed(ready).contains("workdir") && !s.working_dir.empty()) {
      // A working folder that the image has not is made, as by other engines.
      co_await Containers::remove(engine, s.name);
      s.mounts.push_back({c.sandbox.folder + "/work", s.working_dir, false});
      made = co_await create();
      if (!made || made->code != 0) co_return fail(Code::failed_precondition, failed(made), "CreateContainerError");
      c.id = fmt::format("{}://{}", engine.name(), text::trim(made->out));
      ready = co_await init();
    }
    if (!ready || ready->code != 0) {
      c.start_error = failed(ready);
      co_await Containers::remove(engine, s.name);
      ended(c);
      co_return Result<void>{};
    }
  }
  if (unwanted()) {
    co_await Containers::remove(engine, s.name);
    c.cgroup.reset();
    co_return fail(Code::cancelled, "cancelled");
  }
  auto start = start_command(engine, s.name, s.in);
  SpawnOptions o;
  o.argv = std::move(start.argv);
  o.env = std::move(start.env);
  o.folder = c.sandbox.folder;
  o.outlives = true;
  const auto run = c.run;
  auto begun =
      begin(c, std::move(o), [this, &c, run](int) { task::detach(container_over(shared_from_this(), c, run)); });
  if (!begun) {
    co_await Containers::remove(engine, s.name);
    c.cgroup.reset();
    co_return begun;
  }
  // Until it runs nothing can be run inside it.
  for (int i = 0; i < kLooks && c.run == run && c.process; ++i) {
    auto state = co_await Containers::state(engine, s.name);
    if (c.run != run || !state || (state->ran && !state->running)) break;
    if (state->running) {
      c.init_pid = state->pid;
      break;
    }
    co_await task::sleep_ms(std::min(20 + i * 5, 200));
  }
  if (c.run == run && c.process && !counted && (!c.cgroup || !c.cgroup->limits_memory())) watch_memory(c);
  co_return Result<void>{};
}

// The engine's client has ended: what became of the container is for the engine to say.
task::Task<void> Worker::container_over(std::shared_ptr<Worker>, Container& c, unsigned run) {
  const Engine engine = *c.engine;
  const auto name = c.engine_name;
  if (closing_) {
    // Nobody asks how it ended any more, and all are removed together.
    c.reported_exit = true;
    end_came(c, run);
    co_return;
  }
  auto state = co_await Containers::state(engine, name);
  if (state && state->ran && !state->running) {
    c.wait_status = (state->exit_code & 0xff) << 8;
    c.oom = c.oom || state->oom || ::access((c.sandbox.folder + "/oom").c_str(), F_OK) == 0;
    c.reported_exit = true;
  } else if (state && !state->ran) {
    c.start_error = state->error.empty() ? std::string(text::trim(c.log->tail(512))) : state->error;
  } else {
    // Its client was killed and it runs on, or the engine does not know it any more.
    c.wait_status = (WIFEXITED(c.wait_status) && !state ? exit_code(c.wait_status) : 137) << 8;
    c.reported_exit = true;
  }
  co_await Containers::remove(engine, name);
  end_came(c, run);
}

void Worker::signal_container(const Container& c, std::string signal) {
  task::detach([](EngineCommand command) -> task::Task<void> {
    (void)co_await Containers::run(std::move(command), 30'000);
  }(engine_command(*c.engine, {"kill", "--signal", std::move(signal), c.engine_name})));
}

}  // namespace mr::node
