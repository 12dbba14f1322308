#include "node/node.h"

#include <unistd.h>

#include <cstdlib>
#include <future>

#include "http/tcp_stream.h"
#include "log/log.h"
#include "node/bind_shim.h"
#include "node/registration.h"
#include "node/sessions.h"
#include "node/worker.h"
#include "stream/port_forward.h"
#include "task/pool.h"
#include "text/text.h"
#include "time/clock.h"

namespace mr::node {

namespace fs = std::filesystem;
using kube::ObjectPtr;

namespace {
constexpr long kLeaseMs = 20'000, kHeartbeatMs = 300'000, kRetryMs = 1000, kTidyMs = 30'000, kHostsMs = 50,
               kDiskMs = 2000;
constexpr std::uint32_t kFirstPodIp = 0x7f600001, kLastPodIp = 0x7f7ffffe;  // 127.96.0.0/11
}  // namespace

struct Node::Impl : std::enable_shared_from_this<Node::Impl> {
  Impl(task::Loop& l, kube::Manager& m, NodeOptions o) : loop(l), manager(m), options(std::move(o)) {}

  task::Loop& loop;
  kube::Manager& manager;
  NodeOptions options;
  std::shared_ptr<Context> ctx;
  std::vector<std::pair<std::string, std::shared_ptr<BuiltinRuntime>>> runtimes;
  std::map<std::string, std::shared_ptr<Worker>> workers;  // by uid
  kube::Informer *pods = nullptr, *configmaps = nullptr, *secrets = nullptr, *services = nullptr, *claims = nullptr,
                 *endpoints = nullptr, *volumes = nullptr;
  std::unique_ptr<task::Timer> lease, heartbeat, tidy, hosts, disk;
  bool started = false, stopping = false;
  std::size_t live = 0;
  std::promise<void> idle;
  std::uint32_t next_ip = 0;

  void start();
  void on_pod(const ObjectPtr& now, const ObjectPtr& before);
  task::Task<void> run_worker(std::shared_ptr<Impl> self, std::shared_ptr<Worker> w);
  task::Task<ObjectPtr> find(kube::Gvr r, kube::Key key);
  Result<std::string> allocate_ip();
  task::Task<void> announce(std::shared_ptr<Impl> self);
  task::Task<void> renew(std::shared_ptr<Impl> self);
  void refresh_users(const ObjectPtr& object, bool secret);
  void refresh_hosts();
  void tidy_folders();
  void watch_disk();
  Result<std::pair<std::shared_ptr<Worker>, Container*>> locate(const ObjectPtr& pod,
                                                                const std::string& container) const;
};

namespace {

// Whether the pod's volumes or variables name this ConfigMap or Secret.
bool mentions(const kube::Value& v, std::string_view name, int depth = 0) {
  if (depth > 12) return false;
  if (v.is_object()) {
    for (const auto& [k, item] : v.get_object()) {
      if ((k == "name" || k == "secretName") && item.is_string() && item.get_string() == name) return true;
      if ((item.is_object() || item.is_array()) && mentions(item, name, depth + 1)) return true;
    }
  } else if (v.is_array()) {
    for (const auto& item : v.get_array())
      if (mentions(item, name, depth + 1)) return true;
  }
  return false;
}

class PodDialer final : public stream::Dialer {
 public:
  explicit PodDialer(std::string ip) : ip_(std::move(ip)) {}
  task::Task<Result<std::unique_ptr<http::ByteStream>>> dial(std::uint16_t port) override {
    auto there = co_await http::connect_tcp(ip_, port, 5000);
    if (there) co_return std::move(there);
    // A program without a dynamic loader does not listen at the pod's address but at the machine's.
    auto here = co_await http::connect_tcp("127.0.0.1", port, 5000);
    if (here) co_return std::move(here);
    co_return fail(there.error().code,
                   fmt::format("failed to connect to {}:{} inside the pod: connection refused", ip_, port));
  }

 private:
  std::string ip_;
};

}  // namespace

void Node::Impl::start() {
  // Its folders are named in objects, in environments and in sandboxes: the same from everywhere.
  options.data_folder = fs::absolute(options.data_folder).lexically_normal().string();
  if (options.data_folder.ends_with('/')) options.data_folder.pop_back();
  for (auto part : {"logs", "envs/cache/pip", "envs/cache/uv", "pods", "volumes", "node"}) {
    std::error_code ec;
    fs::create_directories(options.data_folder + "/" + part, ec);
  }
  auto machine = measure(options.data_folder);
  pods = &manager.informer(kube::gvr::pods);
  configmaps = &manager.informer(kube::gvr::configmaps);
  secrets = &manager.informer(kube::gvr::secrets);
  services = &manager.informer(kube::gvr::services);
  endpoints = &manager.informer(kube::gvr::endpoints);
  claims = &manager.informer(kube::gvr::pvcs);
  volumes = &manager.informer(kPersistentVolumes);
  ctx = std::shared_ptr<Context>(new Context{
      .manager = manager,
      .loop = loop,
      .options = options,
      .images = Images(options.images),
      .environments = Environments(options.data_folder + "/envs"),
      .warm = WarmInterpreters(options.data_folder + "/node/warm", options.warm_interpreters),
      .containers = std::make_shared<Containers>(options.container_engine, options.data_folder, options.program),
      .runtimes = runtimes,
      .find = {},
      .services = services,
      .bind_shim = {},
      .cpus = machine.cpus,
      .memory = machine.memory,
      .allocate_ip = [this] { return allocate_ip(); }});
  ctx->find = [this](kube::Gvr r, kube::Key k) { return find(std::move(r), std::move(k)); };
  if (auto shim = write_bind_shim(options.data_folder + "/node")) ctx->bind_shim = *shim;
  // Both take some milliseconds that the first pod need not wait for.
  (void)task::disk_pool().submit([c = ctx] {
    c->images.warm();
    (void)find_bubblewrap();
  });
  auto weak = weak_from_this();
  pods->on_change([weak](const ObjectPtr& now, const ObjectPtr& before) {
    if (auto self = weak.lock()) self->on_pod(now, before);
  });
  configmaps->on_change([weak](const ObjectPtr& now, const ObjectPtr& before) {
    if (auto self = weak.lock()) self->refresh_users(now ? now : before, false);
  });
  secrets->on_change([weak](const ObjectPtr& now, const ObjectPtr& before) {
    if (auto self = weak.lock()) self->refresh_users(now ? now : before, true);
  });
  services->on_change([weak](const ObjectPtr&, const ObjectPtr&) {
    if (auto self = weak.lock()) self->refresh_hosts();
  });
  // The names of a headless Service are those of its pods.
  endpoints->on_change([weak](const ObjectPtr& now, const ObjectPtr& before) {
    auto self = weak.lock();
    auto service = self ? self->services->get(kube::key_of(now ? *now : *before)) : nullptr;
    if (service && kube::text_at(*service, "spec.clusterIP") == "None") self->refresh_hosts();
  });
  auto& queue = manager.controller("volumes", [this](kube::Key key) {
    return reconcile_claim(manager, options.data_folder + "/volumes", std::move(key));
  });
  manager.enqueue_changes(*claims, queue);
  volumes->on_change([&queue](const ObjectPtr& now, const ObjectPtr&) {
    if (!now) return;
    auto name = kube::text_at(*now, "spec.claimRef.name");
    if (!name.empty()) queue.add({std::string(kube::text_at(*now, "spec.claimRef.namespace")), std::string(name)});
  });
  loop.post([self = shared_from_this()] {
    self->lease = std::make_unique<task::Timer>();
    self->heartbeat = std::make_unique<task::Timer>();
    self->tidy = std::make_unique<task::Timer>();
    self->hosts = std::make_unique<task::Timer>();
    self->disk = std::make_unique<task::Timer>();
    self->watch_disk();
    ++self->live;
    task::detach(self->announce(self));
    ++self->live;
    task::detach([](std::shared_ptr<Impl> impl) -> task::Task<void> {
      co_await impl->ctx->containers->begin();
      if (--impl->live == 0 && impl->stopping) impl->idle.set_value();
    }(self));
    self->tidy->start(kTidyMs, [weak = std::weak_ptr(self)] {
      if (auto s = weak.lock()) s->tidy_folders();
    });
  });
}

// The Node's object, the storage class and, from then on, the heartbeats.
task::Task<void> Node::Impl::announce(std::shared_ptr<Impl>) {
  while (!stopping) {
    auto done = co_await register_node(manager.client(), options.name, measure(options.data_folder));
    if (done) break;
    log::warn("node not registered", {{"error", done.error().message}});
    co_await task::sleep_ms(kRetryMs);
  }
  if (!stopping) {
    auto made = co_await ensure_storage_class(manager.client());
    if (!made) log::warn("storage class not made", {{"error", made.error().message}});
    heartbeat->start(kHeartbeatMs, [weak = weak_from_this()] {
      auto self = weak.lock();
      if (!self || self->stopping) return;
      ++self->live;
      task::detach(self->announce(self));
    });
    ++live;
    task::detach(renew(shared_from_this()));
  }
  if (--live == 0 && stopping) idle.set_value();
}

task::Task<void> Node::Impl::renew(std::shared_ptr<Impl>) {
  auto done = co_await renew_lease(manager.client(), options.name);
  if (!done) log::debug("lease not renewed", {{"error", done.error().message}});
  if (!stopping)
    lease->start(kLeaseMs, [weak = weak_from_this()] {
      auto self = weak.lock();
      if (!self || self->stopping) return;
      ++self->live;
      task::detach(self->renew(self));
    });
  if (--live == 0 && stopping) idle.set_value();
}

task::Task<ObjectPtr> Node::Impl::find(kube::Gvr r, kube::Key key) {
  kube::Informer* informer = r == kube::gvr::configmaps ? configmaps
                             : r == kube::gvr::secrets  ? secrets
                             : r == kube::gvr::pvcs     ? claims
                             : r == kPersistentVolumes  ? volumes
                                                        : nullptr;
  if (informer != nullptr)
    if (auto o = informer->get(key)) co_return o;
  // Made a moment ago, perhaps: the watch may be behind the pod's own.
  auto got = co_await manager.client().get(std::move(r), std::move(key));
  co_return got ? *got : nullptr;
}

Result<std::string> Node::Impl::allocate_ip() {
  std::set<std::string_view> used;
  for (const auto& [uid, w] : workers) used.insert(w->pod_ip());
  // Begins where the clock says, so that after a restart an address means another pod only after a long time.
  constexpr std::uint32_t kSpan = kLastPodIp - kFirstPodIp;
  if (next_ip == 0) next_ip = kFirstPodIp + static_cast<std::uint32_t>(time::now_ms() / 1000 * 61) % kSpan;
  for (int i = 0; i < 100'000; ++i) {
    auto ip = next_ip;
    next_ip = next_ip >= kLastPodIp ? kFirstPodIp : next_ip + 1;
    if ((ip & 0xff) == 0 || (ip & 0xff) == 0xff) continue;
    auto text = fmt::format("{}.{}.{}.{}", ip >> 24, (ip >> 16) & 0xff, (ip >> 8) & 0xff, ip & 0xff);
    if (!used.contains(text)) return text;
  }
  return fail(Code::resource_exhausted, "no pod address is free");
}

void Node::Impl::on_pod(const ObjectPtr& now, const ObjectPtr& before) {
  if (stopping) return;
  auto uid = std::string(kube::uid_of(now ? *now : *before));
  if (before && (!now || kube::uid_of(*before) != uid)) {
    auto it = workers.find(std::string(kube::uid_of(*before)));
    if (it != workers.end()) it->second->removed();
  }
  if (!now || kube::text_at(*now, "spec.nodeName") != options.name) return;
  if (auto it = workers.find(uid); it != workers.end()) {
    it->second->update(now);
    return;
  }
  auto w = std::make_shared<Worker>(ctx, now);
  workers[uid] = w;
  ++live;
  task::detach(run_worker(shared_from_this(), std::move(w)));
}

task::Task<void> Node::Impl::run_worker(std::shared_ptr<Impl>, std::shared_ptr<Worker> w) {
  co_await w->run();
  workers.erase(std::string(kube::uid_of(*w->pod())));
  if (--live == 0 && stopping) idle.set_value();
}

void Node::Impl::refresh_users(const ObjectPtr& object, bool) {
  for (const auto& [uid, w] : workers) {
    const auto& pod = *w->pod();
    if (kube::namespace_of(pod) != kube::namespace_of(*object)) continue;
    const auto* spec = pod.if_contains("spec");
    if (spec != nullptr && mentions(*spec, kube::name_of(*object))) w->refresh(false);
  }
}

// The names of Services come from another room, which hears of the change about when we do.
void Node::Impl::refresh_hosts() {
  if (!hosts || stopping) return;
  hosts->start(kHostsMs, [weak = weak_from_this()] {
    if (auto self = weak.lock())
      for (const auto& [uid, w] : self->workers) w->refresh(true);
  });
}

// What pods of earlier lives left behind.
void Node::Impl::tidy_folders() {
  if (!pods->synced()) return;
  std::set<std::string> known;
  for (const auto& p : pods->list()) known.emplace(kube::uid_of(*p));
  (void)task::disk_pool().submit([known, data = options.data_folder] {
    std::error_code ec;
    auto sweep = [&](const std::string& folder, bool logs) {
      for (fs::directory_iterator it(folder, ec), end; !ec && it != end; it.increment(ec)) {
        auto name = it->path().filename().string();
        auto uid = logs ? name.substr(name.rfind('_') + 1) : name;
        std::error_code ignored;
        if (!known.contains(uid)) fs::remove_all(it->path(), ignored);
      }
    };
    sweep(data + "/pods", false);
    sweep(data + "/logs", true);
  });
}

void Node::Impl::watch_disk() {
  if (options.min_free_disk <= 0) return;
  disk->start(kDiskMs, [weak = weak_from_this()] {
    auto self = weak.lock();
    if (!self || self->stopping) return;
    ++self->live;
    task::detach([](std::shared_ptr<Impl> impl) -> task::Task<void> {
      std::vector<std::shared_ptr<Worker>> running;
      for (const auto& [uid, w] : impl->workers)
        if (w->running()) running.push_back(w);
      if (!running.empty())
        co_await relieve_disk(impl->options.data_folder, impl->options.min_free_disk, std::move(running));
      if (!impl->stopping) impl->watch_disk();
      if (--impl->live == 0 && impl->stopping) impl->idle.set_value();
    }(self));
  });
}

Node::Node(task::Loop& loop, kube::Manager& manager, NodeOptions options)
    : impl_(std::make_shared<Impl>(loop, manager, std::move(options))) {}
Node::~Node() { stop(); }

void Node::add_runtime(std::string image_prefix, std::shared_ptr<BuiltinRuntime> runtime) {
  impl_->runtimes.emplace_back(std::move(image_prefix), std::move(runtime));
}
void Node::start() {
  impl_->started = true;
  end_strays(impl_->options.data_folder);
  impl_->start();
}

void Node::stop() {
  if (!std::exchange(impl_->started, false)) return;
  auto idle = impl_->idle.get_future();
  impl_->loop.post([impl = impl_] {
    impl->stopping = true;
    for (auto* t : {&impl->lease, &impl->heartbeat, &impl->tidy, &impl->hosts, &impl->disk})
      if (*t) (*t)->cancel();
    for (const auto& [uid, w] : impl->workers) w->stop();
    impl->ctx->warm.stop();
    if (impl->live == 0) impl->idle.set_value();
  });
  if (idle.wait_for(std::chrono::seconds(6)) != std::future_status::ready)
    log::warn("pods did not stop in time", {{"left", impl_->live}});
  impl_->ctx->containers->clear();
}

Result<std::pair<std::shared_ptr<Worker>, Container*>> Node::Impl::locate(const ObjectPtr& pod,
                                                                          const std::string& container) const {
  auto bad = [](std::string message) { return fail(Code::invalid_argument, std::move(message), "BadRequest"); };
  auto name = kube::name_of(*pod);
  if (kube::text_at(*pod, "spec.nodeName").empty())
    return bad(fmt::format("pod {} does not have a host assigned", name));
  auto it = workers.find(std::string(kube::uid_of(*pod)));
  if (it == workers.end()) return bad(fmt::format("pod {} is not known to node {}", name, options.name));
  auto wanted = container;
  const auto& containers = kube::array_at(*pod, "spec.containers");
  if (wanted.empty()) wanted = kube::annotation(*pod, "kubectl.kubernetes.io/default-container");
  if (wanted.empty() && containers.size() == 1) wanted = kube::text_at(*pod, "spec.containers.0.name");
  if (wanted.empty()) {
    std::string all;
    for (const auto& c : containers)
      if (c.is_object()) all += (all.empty() ? "" : " ") + std::string(kube::text_at(c.get_object(), "name"));
    return bad(fmt::format("a container name must be specified for pod {}, choose one of: [{}]", name, all));
  }
  auto* c = it->second->find(wanted);
  if (c == nullptr) return bad(fmt::format("container {} is not valid for pod {}", wanted, name));
  return std::pair{it->second, c};
}

task::Task<Result<http::Response>> Node::logs(ObjectPtr pod, kube::LogOptions o) {
  auto impl = impl_;
  auto* here = task::Loop::current();
  co_await Hop{impl->loop};
  Result<std::pair<std::string, int>> where = fail(Code::internal, "");
  std::shared_ptr<Changes> changes;
  auto found = impl->locate(pod, o.container);
  if (!found) {
    where = std::unexpected(found.error());
  } else {
    auto& [w, c] = *found;
    bool running = c->process || c->builtin;
    int start = c->restarts;
    auto bad = [](std::string message) { return fail(Code::invalid_argument, std::move(message), "BadRequest"); };
    // A container between two runs is shown by its last one, and that is its previous one as well.
    bool between = !running && c->state == State::terminated && c->not_before_ms > mono_ms();
    if (o.previous && !between) --start;
    if (o.previous && start < 0)
      where = bad(
          fmt::format("previous terminated container \"{}\" in pod \"{}\" not found", c->name, kube::name_of(*pod)));
    else if (!o.previous && !running && c->state == State::waiting && c->restarts == 0)
      where = bad(fmt::format("container \"{}\" in pod \"{}\" is waiting to start: {}", c->name, kube::name_of(*pod),
                              c->waiting_reason == "ErrImagePull" || c->waiting_reason == "ImagePullBackOff"
                                  ? "trying and failing to pull image"
                                  : c->waiting_reason));
    else
      where = std::pair{w->log_folder(c->name), start};
    if (running && !o.previous) changes = c->changes;
  }
  found = fail(Code::internal, "");  // the worker belongs to its loop
  co_await Hop{*here};
  if (!where) co_return std::unexpected(where.error());
  auto body = read_log(where->first, where->second, o, changes);
  http::Response r;
  r.headers.add("Content-Type", "text/plain");
  if (!body && body.error().code != Code::not_found) co_return std::unexpected(body.error());
  if (body)
    r.body = std::move(*body);
  else
    r.body = std::string();
  co_return r;
}

task::Task<Result<std::unique_ptr<stream::ExecSession>>> Node::exec(ObjectPtr pod, kube::ExecOptions o) {
  auto impl = impl_;
  auto* here = task::Loop::current();
  co_await Hop{impl->loop};
  struct Inside {
    int init_pid = 0;
    SandboxSpec sandbox;
    std::optional<Engine> engine;
    std::string name;
  };
  Result<Inside> where = fail(Code::internal, "");
  {
    auto found = impl->locate(pod, o.container);
    if (!found)
      where = std::unexpected(found.error());
    else if (found->second->builtin)
      where = fail(Code::unimplemented,
                   "this container is a part of the platform and has no files or commands of its own", "BadRequest");
    else if (found->second->init_pid <= 0)
      where = fail(Code::not_found, fmt::format("container not found (\"{}\")", found->second->name), "InternalError");
    else
      where =
          Inside{found->second->init_pid, found->second->sandbox, found->second->engine, found->second->engine_name};
  }
  co_await Hop{*here};
  if (!where) co_return std::unexpected(where.error());
  if (o.command.empty()) co_return fail(Code::invalid_argument, "you must specify at least one command", "BadRequest");
  if (where->engine) {
    auto inside = exec_command(*where->engine, where->name, o.command, o.in, o.tty);
    co_return start_exec({std::move(inside.argv), std::move(inside.env)}, o);
  }
  if (!co_await sandbox_is_up(where->init_pid))
    co_return fail(Code::failed_precondition, "container not running", "InternalError");
  co_return start_exec(join_command(where->init_pid, where->sandbox, o.command), o);
}

task::Task<Result<std::unique_ptr<stream::ExecSession>>> Node::attach(ObjectPtr pod, kube::ExecOptions o) {
  auto impl = impl_;
  auto* here = task::Loop::current();
  co_await Hop{impl->loop};
  Result<Attachment> made = fail(Code::internal, "");
  {
    auto found = impl->locate(pod, o.container);
    if (!found) {
      made = std::unexpected(found.error());
    } else {
      auto& c = *found->second;
      if (!c.output || (!c.process && !c.builtin)) {
        made = fail(Code::not_found, fmt::format("container {} not found in pod {}", c.name, kube::name_of(*pod)),
                    "InternalError");
      } else {
        Attachment a;
        a.reader = c.output->add();
        if (o.in) a.in = c.in;
        if (c.terminal >= 0) a.terminal = Fd(::dup(c.terminal));
        a.close_in = kube::bool_at(c.spec, "stdinOnce");
        a.loop = &impl->loop;
        made = std::move(a);
      }
    }
  }
  co_await Hop{*here};
  if (!made) co_return std::unexpected(made.error());
  co_return attach_session(std::move(*made));
}

task::Task<Result<std::shared_ptr<stream::Dialer>>> Node::port_forward(ObjectPtr pod) {
  auto ip = std::string(kube::text_at(*pod, "status.podIP"));
  if (ip.empty() || kube::text_at(*pod, "status.phase") != "Running")
    co_return fail(Code::invalid_argument,
                   fmt::format("unable to forward port because pod is not running. Current status={}",
                               kube::text_at(*pod, "status.phase", "Pending")),
                   "BadRequest");
  std::shared_ptr<stream::Dialer> dialer = std::make_shared<PodDialer>(std::move(ip));
  co_return dialer;
}

const std::string& Node::node_name() const { return impl_->options.name; }

task::Task<std::map<std::string, std::vector<kube::Usage>>> Node::usage() {
  struct Running {
    std::string uid, container;
    int pid = 0;
    std::int64_t age_ms = 0;
  };
  std::vector<Running> running;
  auto impl = impl_;
  auto* here = task::Loop::current();
  co_await Hop{impl->loop};
  for (const auto& [uid, worker] : impl->workers)
    for (const auto& c : worker->containers())
      if (auto pid = counted_pid(*c); c->state == State::running && c->process && pid > 0)
        running.push_back({uid, c->name, pid, mono_ms() - c->began_ms});
  co_await Hop{*here};
  std::map<std::string, std::vector<kube::Usage>> out;
  for (const auto& r : running) {
    const auto used = used_by(r.pid);
    out[r.uid].push_back({r.container, used.cpu_ns, used.resident_bytes, r.age_ms * 1'000'000});
  }
  co_return out;
}

}  // namespace mr::node
