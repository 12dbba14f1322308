#include "node/worker.h"

#include "log/log.h"
#include "task/pool.h"
#include "time/clock.h"

namespace mr::node {

namespace fs = std::filesystem;
using kube::Object;

namespace {
constexpr long kFirstPrepareMs = 500, kLastPrepareMs = 120'000;
}

std::int64_t mono_ms() { return time::mono_ns() / 1'000'000; }

std::shared_ptr<Output::Reader> Output::add() {
  auto r = std::make_shared<Reader>();
  if (over_) r->changes.bump(true);
  std::erase_if(readers_, [](const auto& w) { return w.expired(); });
  readers_.push_back(r);
  return r;
}
void Output::write(int channel, std::string_view bytes) {
  constexpr std::size_t kMost = 1U << 20;
  for (auto& weak : readers_)
    if (auto r = weak.lock()) {
      {
        std::lock_guard lock(r->mutex);
        // One that does not keep up loses output rather than holding the container or our memory.
        if (r->size + bytes.size() > kMost) continue;
        r->queue.push_back({channel, std::string(bytes)});
        r->size += bytes.size();
      }
      r->changes.bump();
    }
}
void Output::end() {
  over_ = true;
  for (auto& weak : readers_)
    if (auto r = weak.lock()) r->changes.bump(true);
}

Worker::Worker(std::shared_ptr<Context> context, kube::ObjectPtr pod)
    : ctx_(std::move(context)), pod_(std::move(pod)), uid_(kube::uid_of(*pod_)) {
  label_ = fmt::format("{}_{}({})", kube::name_of(*pod_), kube::namespace_of(*pod_), uid_);
  folder_ = ctx_->options.data_folder + "/pods/" + uid_;
  load_status();
}

std::string Worker::log_folder(const std::string& container) const {
  return fmt::format("{}/logs/{}_{}_{}/{}", ctx_->options.data_folder, kube::namespace_of(*pod_), kube::name_of(*pod_),
                     uid_, container);
}

Container* Worker::find(std::string_view name) {
  for (auto& c : containers_)
    if (c->name == name) return c.get();
  return nullptr;
}

void Worker::event(std::string_view type, std::string_view reason, std::string message) const {
  ctx_->manager.event(*pod_, type, reason, std::move(message), "kubelet");
}

PodFacts Worker::facts() const { return {pod_, pod_ip_, ctx_->host_ip, ctx_->options.name, ctx_->cpus, ctx_->memory}; }

VolumeContext Worker::volume_context() const {
  return {facts(),
          folder_,
          ctx_->options.data_folder + "/volumes",
          ctx_->options.ca_pem,
          ctx_->find,
          ctx_->options.issue_token};
}

// What an earlier life of this program wrote, or nothing. Containers that ran then are gone now.
void Worker::load_status() {
  const Object& pod = *pod_;
  auto add = [&](const kube::Value& v, bool init) {
    if (!v.is_object()) return;
    auto c = std::make_unique<Container>();
    c->spec = v.get_object();
    c->name = kube::text_at(c->spec, "name");
    c->image = kube::text_at(c->spec, "image");
    c->kind = !init ? Kind::main : kube::text_at(c->spec, "restartPolicy") == "Always" ? Kind::sidecar : Kind::init;
    c->waiting_reason =
        init || kube::array_at(pod, "spec.initContainers").empty() ? "ContainerCreating" : "PodInitializing";
    if (init) c->waiting_reason = "PodInitializing";
    for (const auto& s : kube::array_at(pod, init ? "status.initContainerStatuses" : "status.containerStatuses"))
      if (s.is_object() && kube::text_at(s.get_object(), "name") == c->name) load_container(*c, s.get_object());
    containers_.push_back(std::move(c));
  };
  for (const auto& v : kube::array_at(pod, "spec.initContainers")) add(v, true);
  for (const auto& v : kube::array_at(pod, "spec.containers")) add(v, false);
  start_time_ = kube::text_at(pod, "status.startTime");
  pod_ip_ = kube::text_at(pod, "status.podIP");
  auto phase = kube::text_at(pod, "status.phase");
  terminal_ = phase == "Succeeded" || phase == "Failed";
  if (terminal_) {
    fail_reason_ = kube::text_at(pod, "status.reason");
    fail_message_ = kube::text_at(pod, "status.message");
  }
}

void Worker::load_container(Container& c, const Object& s) {
  c.restarts = static_cast<int>(kube::int_at(s, "restartCount"));
  c.id = kube::text_at(s, "containerID");
  c.image_id = kube::text_at(s, "imageID");
  if (const auto& last = kube::object_at(s, "lastState"); !last.empty()) c.last = last;
  const auto& done = kube::object_at(s, "state.terminated");
  const auto& running = kube::object_at(s, "state.running");
  if (!done.empty()) {
    c.state = State::terminated;
    c.exit_code = static_cast<int>(kube::int_at(done, "exitCode"));
    c.reason = kube::text_at(done, "reason");
    c.message = kube::text_at(done, "message");
    c.started_at = kube::text_at(done, "startedAt");
    c.finished_at = kube::text_at(done, "finishedAt");
  } else if (!running.empty()) {
    // It ended with the program; how, nobody saw. This is what a kubelet says after its machine went down.
    c.state = State::terminated;
    c.exit_code = 255;
    c.reason = "Unknown";
    c.started_at = kube::text_at(running, "startedAt");
    c.finished_at = kube::now_text();
  } else if (kube::at(s, "state.waiting") != nullptr && c.restarts > 0) {
    // It waited for its next start: its last end is in lastState.
    const auto& last = kube::object_at(s, "lastState.terminated");
    c.state = State::terminated;
    c.exit_code = static_cast<int>(kube::int_at(last, "exitCode", 255));
    c.reason = kube::text_at(last, "reason", "Error");
    c.started_at = kube::text_at(last, "startedAt");
    c.finished_at = kube::text_at(last, "finishedAt");
  }
}

void Worker::update(kube::ObjectPtr pod) {
  // Our own writes come back from the watch after we have seen them.
  if (kube::resource_version_of(*pod) >= kube::resource_version_of(*pod_)) {
    auto before = std::move(pod_);
    pod_ = std::move(pod);
    if (kube::object_at(*pod_, "metadata.labels") != kube::object_at(*before, "metadata.labels") ||
        kube::object_at(*pod_, "metadata.annotations") != kube::object_at(*before, "metadata.annotations"))
      refresh_volumes_ = true;
    const auto& specs = kube::array_at(*pod_, "spec.containers");
    for (const auto& v : specs) {
      if (!v.is_object()) continue;
      auto* c = find(kube::text_at(v.get_object(), "name"));
      if (c == nullptr || kube::text_at(v.get_object(), "image") == c->image) continue;
      c->image = kube::text_at(v.get_object(), "image");
      c->spec = v.get_object();
      c->not_before_ms = 0;
      if (c->process || c->builtin) {
        event("Normal", "Killing", fmt::format("Container {} definition changed, will be restarted", c->name));
        stop_container(*c, kube::int_at(*pod_, "spec.terminationGracePeriodSeconds", 30) * 1000, {});
      }
    }
  }
  cancel_pull();
  wake();
}
void Worker::removed() {
  removed_ = true;
  cancel_pull();
  wake();
}
void Worker::stop() {
  closing_ = true;
  cancel_pull();
  wake();
}
void Worker::refresh(bool hosts_only) {
  if (!hosts_only) {
    refresh_volumes_ = true;
    // What a container waits for may just have come.
    for (auto& c : containers_)
      if (c->failure == "CreateContainerConfigError") c->not_before_ms = 0;
  }
  refresh_hosts_ = true;
  wake();
}

void Worker::again_in(long ms) {
  auto at = mono_ms() + ms;
  if (timer_at_ > mono_ms() && timer_at_ <= at) return;
  timer_at_ = at;
  timer_.start(std::max(ms, 1L), [weak = weak_from_this()] {
    if (auto self = weak.lock()) {
      self->timer_at_ = 0;
      self->wake();
    }
  });
}

bool Worker::any_running() const {
  return std::ranges::any_of(containers_, [](const auto& c) { return c->process || c->builtin; });
}

task::Task<void> Worker::run() {
  auto self = shared_from_this();
  while (!over_) {
    co_await sync();
    if (!over_) co_await event_.wait();
  }
  timer_.cancel();
  deadline_timer_.cancel();
  refresh_timer_.cancel();
  disk_timer_.cancel();
}

void Worker::stop_all(long grace_ms) {
  for (auto& c : containers_)
    if (c->process || c->builtin)
      stop_container(*c, grace_ms,
                     closing_ || removed_ ? std::string() : fmt::format("Stopping container {}", c->name));
}

void Worker::cleanup() {
  // Beside the loop: a pod's folder may hold a gigabyte.
  std::optional<Engine> engine;
  for (const auto& c : containers_)
    if (c->engine) engine = c->engine;
  (void)task::disk_pool().submit([folder = folder_, engine] { remove_folder(engine, folder); });
}

// Once the pod is over and its status says so, nobody can look into its folders any more: the disk they take is given
// back. Its logs stay as long as its object, and so do folders with next to nothing in them: a file system that has
// just freed thousands of files is slow to make new ones (ext4 passes by the inodes it freed lately).
void Worker::drop_folders() {
  if (dropped_ || any_running() || !prepared_) return;
  auto phase = kube::text_at(*pod_, "status.phase");
  if (phase != "Succeeded" && phase != "Failed") return;
  dropped_ = true;
  constexpr std::int64_t kWorthIt = std::int64_t{1} << 20;
  std::optional<Engine> engine;
  for (const auto& c : containers_)
    if (c->engine) engine = c->engine;
  (void)task::disk_pool().submit([folder = folder_, engine] {
    if (disk_use({folder}, kWorthIt) > kWorthIt) remove_folder(engine, folder);
  });
}

bool Worker::restarts(const Container& c) const {
  if (c.kind == Kind::sidecar) return true;
  auto policy = kube::text_at(*pod_, "spec.restartPolicy", "Always");
  if (policy == "Never") return false;
  if (c.kind == Kind::init) return c.exit_code != 0;
  return policy == "Always" || c.exit_code != 0;
}

void Worker::check_deadline() {
  auto seconds = kube::int_at(*pod_, "spec.activeDeadlineSeconds");
  if (seconds <= 0 || start_time_.empty() || !fail_reason_.empty()) return;
  auto left_ms = time::parse_rfc3339_ns(start_time_).value_or(0) / 1'000'000 + seconds * 1000 - time::now_ms();
  if (left_ms > 0) {
    deadline_timer_.start(std::min<std::int64_t>(left_ms + 1, 86'400'000), [weak = weak_from_this()] {
      if (auto self = weak.lock()) self->wake();
    });
    return;
  }
  fail_reason_ = "DeadlineExceeded";
  fail_message_ = "Pod was active on the node longer than the specified deadline";
  event("Normal", "DeadlineExceeded", fail_message_);
}

task::Task<void> Worker::sync() {
  if (closing_) {
    stop_all(2000);
    if (!any_running()) over_ = true;
    co_return;
  }
  if (removed_) {
    stop_all(1000);
    if (!any_running()) {
      cleanup();
      std::error_code ec;
      fs::remove_all(fs::path(log_folder("x")).parent_path(), ec);
      over_ = true;
    }
    co_return;
  }
  if (kube::deleting(*pod_)) {
    auto grace = kube::int_at(*pod_, "metadata.deletionGracePeriodSeconds", 30);
    stop_all(std::max<std::int64_t>(grace, 1) * 1000);
    if (!any_running()) {
      for (auto& c : containers_) {
        c->ready = c->started = false;
        if (c->state == State::waiting && c->restarts == 0) continue;
      }
      co_await write_status();
      auto done = co_await ctx_->manager.client().remove_now(kube::gvr::pods, kube::key_of(*pod_), uid_);
      if (!done && done.error().code != Code::not_found && done.error().reason != "NotFound" &&
          done.error().reason != "Conflict") {
        log::warn("pod could not be removed", {{"pod", label_}, {"error", done.error().message}});
        again_in(1000);
        co_return;
      }
      // With finalizers it stays; the watch tells when it is gone.
      again_in(60'000);
    } else {
      co_await write_status();
    }
    co_return;
  }
  if (terminal_) {
    drop_folders();
    co_return;
  }
  if (start_time_.empty()) start_time_ = kube::now_text();
  check_deadline();
  if (!fail_reason_.empty()) {
    stop_all(fail_grace_ms_.value_or(kube::int_at(*pod_, "spec.terminationGracePeriodSeconds", 30) * 1000));
    co_await write_status();
    drop_folders();
    co_return;
  }
  if (co_await prepare()) co_await sync_containers();
  co_await write_status();
  if (terminal_) drop_folders();
}

// The pod's address, folders and volumes.
task::Task<bool> Worker::prepare() {
  auto host = std::string(kube::text_at(*pod_, "spec.hostname", kube::name_of(*pod_)));
  if (prepared_ && std::exchange(refresh_hosts_, false) && ctx_->options.hosts)
    write_hosts(folder_ + "/etc", pod_ip_, host, ctx_->options.hosts(kube::namespace_of(*pod_)),
                kube::array_at(*pod_, "spec.hostAliases"));
  if (prepared_ && !refresh_volumes_) co_return true;
  refresh_volumes_ = false;
  if (pod_ip_.empty()) {
    if (kube::bool_at(*pod_, "spec.hostNetwork")) {
      pod_ip_ = ctx_->host_ip;
    } else {
      auto ip = ctx_->allocate_ip();
      if (!ip) {
        event("Warning", "FailedCreatePodSandBox", "Failed to create pod sandbox: " + ip.error().message);
        again_in(5000);
        co_return false;
      }
      pod_ip_ = std::move(*ip);
    }
  }
  auto volumes = co_await prepare_volumes(volume_context());
  if (!volumes) {
    if (prepared_) co_return true;  // the old content stays
    event("Warning", "FailedMount", volumes.error().message);
    prepare_backoff_ms_ =
        prepare_backoff_ms_ == 0 ? kFirstPrepareMs : std::min(prepare_backoff_ms_ * 2, kLastPrepareMs);
    again_in(prepare_backoff_ms_);
    co_return false;
  }
  volumes_ = std::move(*volumes);
  if (!prepared_) {
    auto uid = kube::int_at(*pod_, "spec.securityContext.runAsUser");
    auto made = make_etc(folder_ + "/etc", host, uid, kube::int_at(*pod_, "spec.securityContext.runAsGroup"));
    if (!made) {
      event("Warning", "FailedCreatePodSandBox", "Failed to create pod sandbox: " + made.error().message);
      again_in(5000);
      co_return false;
    }
    write_hosts(folder_ + "/etc", pod_ip_, host,
                ctx_->options.hosts ? ctx_->options.hosts(kube::namespace_of(*pod_))
                                    : std::vector<std::pair<std::string, std::string>>{},
                kube::array_at(*pod_, "spec.hostAliases"));
    prepared_ = true;
  }
  // Tokens are renewed long before they end; ConfigMaps and Secrets are looked at when they change.
  refresh_timer_.start(20L * 60 * 1000, [weak = weak_from_this()] {
    if (auto self = weak.lock()) self->refresh(false);
  });
  watch_disk();
  co_return true;
}

task::Task<void> Worker::sync_containers() {
  auto due = [&](Container& c) -> bool {
    auto left = c.not_before_ms - mono_ms();
    if (left <= 0) return true;
    again_in(static_cast<long>(left));
    return false;
  };
  // A container that has ended and starts again: what the kubelet says and waits in between.
  auto restart = [&](Container& c) -> bool {
    if (due(c)) return true;
    if (!c.told_backoff) {
      c.told_backoff = true;
      event("Warning", "BackOff", fmt::format("Back-off restarting failed container {} in pod {}", c.name, label_));
    }
    return false;
  };
  bool done = true;
  for (auto& p : containers_) {
    auto& c = *p;
    if (c.kind == Kind::main) continue;
    if (closing_ || removed_ || kube::deleting(*pod_)) co_return;
    if (c.process || c.builtin) {
      // A sidecar that has started lets the next ones begin; an ordinary one has to end.
      if (c.kind == Kind::sidecar && (c.started || initialized_)) continue;
      done = false;
      break;
    }
    if (c.kind == Kind::sidecar && work_over_) continue;
    if (c.state == State::terminated && c.kind == Kind::init && c.exit_code == 0) continue;
    if (c.state == State::terminated && !restarts(c)) {
      fail_reason_.clear();
      terminal_ = true;  // the phase says Failed by this container
      for (auto& s : containers_)
        if (s->process || s->builtin) {
          stop_container(*s, 5000, fmt::format("Stopping container {}", s->name));
          terminal_ = false;
        }
      co_return;
    }
    if (c.state == State::terminated ? restart(c) : due(c)) co_await start(c);
    if (!(c.kind == Kind::sidecar && (c.started || initialized_))) {
      done = false;
      break;
    }
  }
  if (!done) co_return;
  initialized_ = true;
  bool working = false;
  for (auto& p : containers_) {
    auto& c = *p;
    if (c.kind != Kind::main) continue;
    if (closing_ || removed_ || kube::deleting(*pod_)) co_return;
    if (c.process || c.builtin) {
      working = true;
      continue;
    }
    if (c.state == State::terminated && !restarts(c)) continue;
    working = true;
    if (c.state == State::terminated ? restart(c) : due(c)) co_await start(c);
  }
  if (working) co_return;
  // The pod's work is over: sidecars end in the reverse order of their start, and are not started again.
  work_over_ = true;
  for (auto it = containers_.rbegin(); it != containers_.rend(); ++it)
    if ((*it)->kind == Kind::sidecar && ((*it)->process || (*it)->builtin)) {
      stop_container(**it, kube::int_at(*pod_, "spec.terminationGracePeriodSeconds", 30) * 1000,
                     fmt::format("Stopping container {}", (*it)->name));
      co_return;
    }
  terminal_ = true;
}

}  // namespace mr::node
