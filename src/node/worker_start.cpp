// The start, the output and the end of one container.
#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <csignal>
#include <fstream>

#include "crypto/random.h"
#include "json/parse.h"
#include "node/worker.h"
#include "text/text.h"

namespace mr::node {

using kube::Object;

namespace {

constexpr std::size_t kGatheredLog = 256 * 1024;  // of a builtin container, between two deliveries

constexpr std::size_t kTurn = 128 * 1024;  // of output, before others of the loop have their turn
// A program that prints without end has always more to read.
struct Turn {
  static bool await_ready() { return false; }
  static void await_suspend(std::coroutine_handle<> h) { task::resume_later(h); }
  static void await_resume() {}
};

double quantity(const Object& container, std::string_view path) {
  const auto* v = kube::at(container, path);
  if (v == nullptr) return 0;
  auto q = parse_quantity(v->is_string() ? std::string_view(v->get_string()) : std::string_view(json::serialize(*v)));
  return std::max(q, 0.0);
}

// What the program passes on from its own environment: how packages are reached from here.
constexpr const char* kPassedOn[] = {"PIP_INDEX_URL", "PIP_TRUSTED_HOST", "UV_INDEX_URL", "UV_DEFAULT_INDEX",
                                     "HTTP_PROXY",    "HTTPS_PROXY",      "NO_PROXY",     "http_proxy",
                                     "https_proxy",   "no_proxy"};

}  // namespace

std::vector<std::string> texts_at(const Object& o, std::string_view path,
                                  const std::map<std::string, std::string>& env) {
  std::vector<std::string> out;
  for (const auto& v : kube::array_at(o, path))
    if (v.is_string()) out.push_back(expand(v.get_string(), env));
  return out;
}

Limits limits_of(const Object& container) {
  return {quantity(container, "resources.limits.cpu"),
          static_cast<std::int64_t>(quantity(container, "resources.limits.memory"))};
}

int program_pid(const Container& c) {
  if (c.init_pid <= 0) return -1;
  return c.warm ? c.warm->process_in(c.init_pid) : main_process(c.init_pid);
}

int counted_pid(const Container& c) {
  return c.engine ? c.init_pid : c.warm ? program_pid(c) : c.process ? c.process->pid() : -1;
}

task::Task<void> Worker::start(Container& c) {
  c.waiting_message.clear();
  auto r = co_await launch(c);
  if (!r && !(r.error().code == Code::cancelled && unwanted())) failed_start(c, r.error());
}

// The image, configuration or start was no good: a waiting state with the kubelet's reason, and another attempt later.
void Worker::failed_start(Container& c, const Error& e) {
  auto reason = e.reason.empty() ? std::string("CreateContainerError") : e.reason;
  event("Warning", "Failed",
        reason == "ErrImagePull"        ? fmt::format("Failed to pull image \"{}\": {}", c.image, e.message)
        : reason == "InvalidImageName"  ? e.message
        : reason == "ErrImageNeverPull" ? "Error: ErrImageNeverPull"
                                        : "Error: " + e.message);
  if (c.state != State::running) c.state = c.restarts > 0 ? State::terminated : State::waiting;
  c.waiting_message = e.message;
  long delay = 5000;
  if (reason == "ErrImagePull") {
    event("Warning", "Failed", "Error: ErrImagePull");
    c.backoff_ms = c.failure == reason ? std::min(c.backoff_ms * 2, kLastBackoffMs) : kFirstBackoffMs;
    delay = c.backoff_ms;
    // Its second name while it waits for the next attempt comes a moment later, as on a cluster.
    c.watch_timer.start(1000, [this, &c, weak = weak_from_this()] {
      auto self = weak.lock();
      if (!self || c.waiting_reason != "ErrImagePull" || c.process || c.builtin) return;
      c.waiting_reason = "ImagePullBackOff";
      c.waiting_message = fmt::format("Back-off pulling image \"{}\": ErrImagePull: {}", c.image, c.waiting_message);
      event("Normal", "BackOff", fmt::format("Back-off pulling image \"{}\"", c.image));
      event("Warning", "Failed", "Error: ImagePullBackOff");
      wake();
    });
  }
  c.failure = reason;
  c.waiting_reason = reason;
  c.not_before_ms = mono_ms() + delay;
  again_in(delay);
}

task::Task<Result<void>> Worker::launch(Container& c) {
  const Object& spec = c.spec;
  if (c.image.empty()) co_return fail(Code::invalid_argument, "no image given", "InvalidImageName");
  std::shared_ptr<BuiltinRuntime> builtin;
  for (const auto& [prefix, runtime] : ctx_->runtimes)
    if (c.image.starts_with(prefix)) builtin = runtime;
  Image image;
  std::optional<Engine> engine;
  EngineImage container;
  bool pulled = false;
  if (!builtin) {
    // What the process runtime cannot take is a matter for a container engine.
    std::optional<Error> refused;
    if (auto found = ctx_->images.resolve(c.image))
      image = std::move(*found);
    else if (found.error().reason == "ErrImagePull")
      refused = found.error();
    else
      co_return std::unexpected(found.error());
    if (!refused && image.kind != Image::Kind::container)
      if (auto b = find_bubblewrap(); !b) refused = b.error();
    if (refused || image.kind == Image::Kind::container) {
      auto there = co_await ctx_->containers->engine();
      if (!there)
        co_return fail(Code::unavailable,
                       refused ? fmt::format("{}; {}", refused->message, there.error().message) : there.error().message,
                       "ErrImagePull");
      auto taken = co_await take_image(c, *there, pulled);
      if (!taken) {
        auto e = taken.error();
        if (refused && e.reason == "ErrImagePull") e.message += "; " + refused->message;
        co_return std::unexpected(std::move(e));
      }
      engine = std::move(*there);
      container = std::move(*taken);
    } else if (!image.note.empty() && c.restarts == 0) {
      event("Warning", "OtherPythonVersion", image.note);
    }
  }
  Env base;
  // An image of an engine says itself where its programs are.
  if (!engine) base = {{"PATH", "/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"}, {"HOME", "/root"}};
  base.emplace_back("HOSTNAME", std::string(kube::text_at(*pod_, "spec.hostname", kube::name_of(*pod_))));
  if (image.kind == Image::Kind::python) {
    base.emplace_back("LANG", "C.UTF-8");
    base.emplace_back("PYTHON_VERSION", fmt::format("3.{}", image.python.minor));
    base.emplace_back("PIP_ROOT_USER_ACTION", "ignore");
    base.emplace_back("PIP_DISABLE_PIP_VERSION_CHECK", "1");
    base.emplace_back("PIP_CACHE_DIR", fmt::format("{}/pip", kCacheInside));
    base.emplace_back("UV_CACHE_DIR", fmt::format("{}/uv", kCacheInside));
    for (const char* name : kPassedOn)
      if (const char* v = ::getenv(name)) base.emplace_back(name, v);
  }
  std::string_view api = ctx_->options.api_url;
  if (auto at = api.find("://"); at != std::string_view::npos) api.remove_prefix(at + 3);
  auto colon = api.rfind(':');
  std::string port(colon == std::string_view::npos ? std::string_view("443") : api.substr(colon + 1));
  base.emplace_back("KUBERNETES_SERVICE_HOST", api.substr(0, colon));
  base.emplace_back("KUBERNETES_SERVICE_PORT", port);
  base.emplace_back("KUBERNETES_SERVICE_PORT_HTTPS", port);
  if (ctx_->services != nullptr && kube::bool_at(*pod_, "spec.enableServiceLinks", true)) {
    std::vector<kube::ObjectPtr> services;
    for (auto& s : ctx_->services->list(kube::namespace_of(*pod_)))
      if (kube::name_of(*s) != "kubernetes") services.push_back(std::move(s));
    for (auto& e : service_links(services)) base.push_back(std::move(e));
  }
  MR_CO_TRY(auto env, co_await resolve_env(facts(), spec, std::move(base), ctx_->find));
  std::map<std::string, std::string> values(env.begin(), env.end());
  MR_CO_TRY(auto mounts, resolve_mounts(*pod_, spec, volumes_, values));

  // From here on it is a new run.
  if (c.state == State::terminated && !std::exchange(c.counted, true)) {
    Object end{
        {"exitCode", c.exit_code}, {"reason", c.reason}, {"startedAt", c.started_at}, {"finishedAt", c.finished_at}};
    if (!c.message.empty()) end["message"] = c.message;
    if (!c.id.empty()) end["containerID"] = c.id;
    c.last = Object{{"terminated", std::move(end)}};
    ++c.restarts;
  }
  ++c.run;
  c.id = "millrace://" + crypto::random_hex(32);
  c.image_id = builtin ? "millrace://builtin/" + c.image : engine ? container.digest : image.id;
  c.engine = std::move(engine);
  c.engine_name.clear();
  c.start_error.clear();
  c.reason.clear();
  c.message.clear();
  c.stopping = c.oom = c.told_backoff = c.reported_exit = false;
  c.pending = 0;
  c.init_pid = -1;
  c.probes.clear();
  c.ready = c.started = false;
  c.failure.clear();
  c.kill_at_ms = 0;
  c.began_ms = mono_ms();
  c.started_at = kube::now_text();
  c.changes = std::make_shared<Changes>();
  c.output = std::make_shared<Output>();
  MR_CO_TRY(c.log, LogWriter::open(log_folder(c.name), c.restarts, c.changes));
  if (builtin) {
    std::map<std::string, std::string> folders;
    for (const auto& m : mounts) folders[m.target] = m.source;
    // Lines come from any thread and at the pace of requests: they are gathered, and what a flood brings beyond the
    // bound is counted instead of kept.
    struct Gathered {
      std::mutex mutex;
      std::string text;
      std::size_t lost = 0;
    };
    auto gathered = std::make_shared<Gathered>();
    auto sink = [weak = weak_from_this(), &c, run = c.run, loop = &ctx_->loop, gathered](std::string_view text) {
      {
        std::lock_guard lock(gathered->mutex);
        if (gathered->text.size() + text.size() > kGatheredLog) {
          ++gathered->lost;
          return;
        }
        const bool first = gathered->text.empty();
        gathered->text += text;
        if (!first) return;
      }
      loop->post([weak, &c, run, gathered] {
        std::string all;
        {
          std::lock_guard lock(gathered->mutex);
          all.swap(gathered->text);
          if (auto lost = std::exchange(gathered->lost, 0); lost > 0)
            all += fmt::format("[{} lines were not kept]\n", lost);
        }
        auto self = weak.lock();
        if (!self || c.run != run || !c.log) return;
        c.log->append("stdout", all);
        c.output->write(1, all);
      });
    };
    auto started = co_await builtin->start({pod_, spec, env, std::move(folders), pod_ip_, std::move(sink)});
    if (!started) {
      c.log->finish();
      co_return fail(Code::failed_precondition, started.error().message,
                     started.error().reason.empty() ? "CreateContainerError" : started.error().reason);
    }
    c.builtin = std::move(*started);
    c.pending = 1;
    task::detach([](std::shared_ptr<Worker> self, Container& of, unsigned run) -> task::Task<void> {
      auto code = co_await of.builtin->wait();
      of.wait_status = (code & 0xff) << 8;
      of.reported_exit = true;
      self->end_came(of, run);
    }(shared_from_this(), c, c.run));
  } else if (c.engine) {
    if (auto made = co_await launch_container(c, std::move(container), std::move(env), std::move(mounts)); !made) {
      c.log->finish();
      co_return std::unexpected(made.error());
    }
  } else {
    MR_CO_CHECK(co_await launch_process(c, std::move(image), std::move(env), std::move(mounts)));
  }
  if (!pulled) event("Normal", "Pulled", fmt::format("Container image \"{}\" already present on machine", c.image));
  event("Normal", "Created", fmt::format("Created container: {}", c.name));
  event("Normal", "Started", fmt::format("Started container {}", c.name));
  if (!c.process && !c.builtin) co_return Result<void>{};  // it has ended already
  c.state = State::running;
  if (const auto& hook = kube::object_at(spec, "lifecycle.postStart"); !hook.empty()) {
    auto run = c.run;
    auto hooked = co_await act(c, hook, 120'000);
    if (!hooked && c.run == run && (c.process || c.builtin)) {
      event("Warning", "FailedPostStartHook", "PostStartHook failed: " + hooked.error().message);
      stop_container(c, kube::int_at(*pod_, "spec.terminationGracePeriodSeconds", 30) * 1000, "FailedPostStartHook");
    }
  }
  if (c.process || c.builtin) start_probes(c);
  co_return Result<void>{};
}

task::Task<Result<void>> Worker::launch_process(Container& c, Image image, Env env, std::vector<Mount> mounts) {
  const Object& spec = c.spec;
  std::map<std::string, std::string> values(env.begin(), env.end());
  SandboxSpec s;
  s.image = image;
  s.folder = folder_ + "/containers/" + c.name;
  s.etc_folder = folder_ + "/etc";
  s.cache_folder = ctx_->options.data_folder + "/envs/cache";
  s.bind_shim = kube::bool_at(*pod_, "spec.hostNetwork") ? "" : ctx_->bind_shim;
  s.host_name = kube::text_at(*pod_, "spec.hostname", kube::name_of(*pod_));
  s.mounts = std::move(mounts);
  s.working_dir = kube::text_at(spec, "workingDir");
  s.uid = kube::int_at(spec, "securityContext.runAsUser", kube::int_at(*pod_, "spec.securityContext.runAsUser"));
  s.gid = kube::int_at(spec, "securityContext.runAsGroup", kube::int_at(*pod_, "spec.securityContext.runAsGroup"));
  s.read_only_root = kube::bool_at(spec, "securityContext.readOnlyRootFilesystem");
  bool non_root =
      kube::bool_at(spec, "securityContext.runAsNonRoot", kube::bool_at(*pod_, "spec.securityContext.runAsNonRoot"));
  if (non_root && s.uid == 0)
    co_return fail(Code::failed_precondition,
                   fmt::format("container has runAsNonRoot and image will run as root (pod: \"{}\", container: {})",
                               label_, c.name),
                   "CreateContainerConfigError");
  auto requirements = std::string(kube::annotation(*pod_, "millrace.dev/requirements"));
  if (auto it = values.find("MILLRACE_REQUIREMENTS"); it != values.end()) requirements = it->second;
  if (!text::trim(requirements).empty() && image.kind == Image::Kind::python) {
    if (!ctx_->environments.ready(image.python, requirements)) {
      event("Normal", "Pulling", fmt::format("Making an environment of packages for image \"{}\"", c.image));
      c.waiting_reason = "ContainerCreating";
      co_await write_status();
    }
    MR_CO_TRY(s.env_folder, co_await ctx_->environments.get(image.python, requirements));
    for (auto& [k, v] : env)
      if (k == "PATH") v = fmt::format("/usr/local/bin:{}/bin:{}", s.env_folder, v);
  }
  s.command = texts_at(spec, "command", values);
  auto args = texts_at(spec, "args", values);
  // What the images themselves would run.
  if (s.command.empty() && args.empty()) s.command = {image.kind == Image::Kind::python ? "python3" : "/bin/sh"};
  s.command.insert(s.command.end(), args.begin(), args.end());
  if (!s.bind_shim.empty()) {
    env.emplace_back("LD_PRELOAD", "/run/millrace/bind.so");
    env.emplace_back("MILLRACE_POD_IP", pod_ip_);
  }
  s.env = std::move(env);

  MR_CO_CHECK(make_container_folder(s));
  MR_CO_TRY(auto bubblewrap, find_bubblewrap());
  auto limits = limits_of(spec);
  c.cgroup = Cgroup::make(fmt::format("{}-{}-{}", uid_, c.name, c.restarts), limits);
  c.memory_limit = limits.memory;
  c.warm.reset();
  if (auto imports = kube::annotation(*pod_, "millrace.dev/warm-imports");
      !imports.empty() && !kube::bool_at(spec, "tty") && !kube::bool_at(spec, "stdin"))
    c.warm = ctx_->warm.get(s, std::string(kube::namespace_of(*pod_)), std::string(imports));
  if (c.warm) co_return co_await launch_warm(c, std::move(s), bubblewrap);
  s.status_fd = 3;
  MR_CO_TRY(auto command, sandbox_command(s, bubblewrap));

  SpawnOptions o;
  o.argv = std::move(command.argv);
  o.env = std::move(command.env);
  if (c.cgroup) o.cgroups = c.cgroup->procs();
  MR_CO_TRY(auto status, make_pipe());
  o.fds = {{status.write.get(), 3}};
  c.sandbox = s;
  MR_CO_CHECK(begin(c, std::move(o), [this, &c, run = c.run](int) { end_came(c, run); }));
  status.write.reset();
  ++c.pending;
  std::shared_ptr<http::ByteStream> reports = stream_of(std::move(status.read));
  c.ends.push_back(reports);
  // Until the sandbox is there nothing could be run inside it.
  auto first = std::make_shared<task::Event>();
  task::detach(read_status(shared_from_this(), c, c.run, std::move(reports), first));
  co_await first->wait();
  if (!c.cgroup || !c.cgroup->limits_memory()) watch_memory(c);
  co_return Result<void>{};
}

task::Task<Result<void>> Worker::launch_warm(Container& c, SandboxSpec s, const std::string& bubblewrap) {
  // The sandbox's own command only waits for the exit code of what comes in from beside: its end ends the sandbox.
  constexpr const char* kHold = R"(echo >&8; exec 8>&-; read -r code <&9 || code=137; exit "$code")";
  auto hold = s;
  hold.command = {"/bin/sh", "-c", kHold};
  hold.env.clear();
  MR_CO_TRY(auto command, sandbox_command(hold, bubblewrap));
  MR_CO_TRY(auto up, make_pipe());
  MR_CO_TRY(auto code, make_pipe());
  SpawnOptions o;
  o.argv = c.warm->beside(std::move(command.argv));
  o.env = std::move(command.env);
  if (c.cgroup) o.cgroups = c.cgroup->procs();
  o.fds = {{up.write.get(), 8}, {code.read.get(), 9}};
  c.sandbox = s;
  const auto run = c.run;
  MR_CO_CHECK(begin(c, std::move(o), [this, &c, run](int) { end_came(c, run); }));
  up.write.reset();
  code.read.reset();
  const int outer = c.process->pid();
  // Its own ends of the output, whatever becomes of the process that holds them now.
  Fd out(::open(fmt::format("/proc/{}/fd/1", outer).c_str(), O_WRONLY | O_CLOEXEC));
  Fd err(::open(fmt::format("/proc/{}/fd/2", outer).c_str(), O_WRONLY | O_CLOEXEC));
  auto self = shared_from_this();
  std::shared_ptr<http::ByteStream> reports = stream_of(std::move(up.read));
  c.ends.push_back(reports);
  auto word = co_await reports->read();
  if (c.run != run || !c.process || !word || word->empty()) co_return Result<void>{};  // it has ended: the log says why
  c.init_pid = main_process(main_process(outer));
  WarmStep step;
  step.argv = {s.command.begin() + 1, s.command.end()};
  step.env = std::move(s.env);
  step.working_dir = s.working_dir;
  step.out = out.get();
  step.err = err.get();
  step.code = code.write.get();
  step.init_pid = c.init_pid;
  if (c.cgroup) step.cgroups = c.cgroup->procs();
  step.keeps_capabilities = s.uid == 0;
  Result<void> handed;
  for (int i = 0; i < 500 && c.run == run && c.process; ++i) {
    handed = c.warm->run(step);
    if (handed || !c.warm->alive()) break;
    co_await task::sleep_ms(10);  // many begin at once
  }
  if (c.run != run || !c.process) co_return Result<void>{};
  if (handed) {
    c.reported_exit = true;
  } else {
    c.start_error = handed.error().message;
    c.process->kill(SIGKILL);
  }
  if (!c.cgroup || !c.cgroup->limits_memory()) watch_memory(c);
  co_return Result<void>{};
}

Result<void> Worker::begin(Container& c, SpawnOptions o, std::move_only_function<void(int)> over) {
  Pipe out, err, in;
  Terminal terminal;
  bool tty = kube::bool_at(c.spec, "tty");
  bool wants_in = kube::bool_at(c.spec, "stdin");
  // Both outputs through one pipe, where their order matters more than which is which.
  const bool merged = kube::annotation(*pod_, "millrace.dev/merged-output") == "true";
  if (tty) {
    MR_TRY(terminal, make_terminal(80, 24));
    o.in = o.out = o.err = terminal.slave.get();
    o.terminal = true;
  } else {
    MR_TRY(out, make_pipe());
    o.out = o.err = out.write.get();
    if (!merged) {
      MR_TRY(err, make_pipe());
      o.err = err.write.get();
    }
    if (wants_in) {
      MR_TRY(in, make_pipe());
      o.in = in.read.get();
    }
  }
  auto run = c.run;
  MR_TRY(c.process,
         Process::start(o, [weak = weak_from_this(), &c, run, over = std::move(over)](int wait_status) mutable {
           auto self = weak.lock();
           if (!self || c.run != run) return;
           c.wait_status = wait_status;
           // What ends with it: its descendants, and with them the pipes. Should one linger, it is not
           // waited for.
           c.drain_timer.start(2000, [weak, &c, run] {
             if (auto again = weak.lock(); again && c.run == run)
               for (auto& e : c.ends) e->close();
           });
           over(wait_status);
         }));
  c.pending = 1;
  c.ends.clear();
  auto self = shared_from_this();
  auto begin = [&](int channel, std::shared_ptr<http::ByteStream> from) {
    ++c.pending;
    c.ends.push_back(from);
    task::detach(read_output(self, c, run, channel, std::move(from)));
  };
  if (tty) {
    terminal.slave.reset();
    c.terminal = ::fcntl(terminal.master.get(), F_DUPFD_CLOEXEC, 3);
    Fd writer(::fcntl(terminal.master.get(), F_DUPFD_CLOEXEC, 3));
    c.in = stream_of(std::move(writer));
    begin(1, stream_of(std::move(terminal.master)));
  } else {
    out.write.reset();
    err.write.reset();
    begin(1, stream_of(std::move(out.read)));
    if (!merged) begin(2, stream_of(std::move(err.read)));
    if (wants_in) {
      in.read.reset();
      c.in = stream_of(std::move(in.write));
    }
  }
  return {};
}

task::Task<void> Worker::read_output(std::shared_ptr<Worker>, Container& c, unsigned run, int channel,
                                     std::shared_ptr<http::ByteStream> from) {
  for (std::size_t turn = 0;;) {
    auto piece = co_await from->read();
    if (!piece || piece->empty()) break;
    if (c.run != run) co_return;
    c.log->append(channel == 1 ? "stdout" : "stderr", *piece);
    c.output->write(channel, *piece);
    if ((turn += piece->size()) < kTurn) continue;
    turn = 0;
    co_await Turn{};
    if (c.run != run) co_return;
  }
  end_came(c, run);
}

// bubblewrap's reports: the sandbox's first process, then the exit code of the command, unless it could not be run.
task::Task<void> Worker::read_status(std::shared_ptr<Worker>, Container& c, unsigned run,
                                     std::shared_ptr<http::ByteStream> from, std::shared_ptr<task::Event> first) {
  std::string text;
  bool told = false;
  while (text.size() < 65536) {
    auto piece = co_await from->read();
    if (!piece || piece->empty()) break;
    text += *piece;
    for (std::size_t end = 0; (end = text.find('\n')) != std::string::npos; text.erase(0, end + 1)) {
      auto report = json::parse(std::string_view(text).substr(0, end));
      if (!report || !report->is_object() || c.run != run) continue;
      if (auto pid = kube::int_at(report->get_object(), "child-pid"); pid > 0) c.init_pid = static_cast<int>(pid);
      if (report->get_object().contains("exit-code")) c.reported_exit = true;
    }
    // A report may come in pieces: hooks and exec need the process that the first whole one names.
    if (c.init_pid > 0 && !std::exchange(told, true)) first->set();
  }
  if (!told) first->set();
  end_came(c, run);
}

}  // namespace mr::node
