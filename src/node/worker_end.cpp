// The end of one container: what it left, and how it is made to.
#include <unistd.h>

#include <csignal>

#include "core/read_file.h"
#include "node/worker.h"
#include "text/text.h"

namespace mr::node {

using kube::Object;

namespace {

constexpr long kDrainMs = 100;  // between a pod's deletion and the signal to its processes
constexpr long kForgetBackoffMs = 600'000;
constexpr long kMemoryLookMs = 250;
constexpr std::size_t kTerminationMessage = 4096;

std::string back_off_text(long ms) {
  auto s = ms / 1000;
  return s < 60 ? fmt::format("{}s", s) : fmt::format("{}m{}s", s / 60, s % 60);
}

}  // namespace

void Worker::end_came(Container& c, unsigned run) {
  if (c.run != run || c.pending <= 0) return;
  if (--c.pending == 0) ended(c);
}

void Worker::ended(Container& c) {
  c.kill_timer.cancel();
  c.watch_timer.cancel();
  c.drain_timer.cancel();
  for (auto& p : c.probes) p->timer.cancel();
  bool killed = WIFSIGNALED(c.wait_status);
  c.exit_code = exit_code(c.wait_status);
  c.reason = c.exit_code == 0 ? "Completed" : "Error";
  if (c.oom || (c.cgroup && c.cgroup->oom_killed())) {
    c.reason = "OOMKilled";
    c.exit_code = 137;
  } else if ((c.process || !c.start_error.empty()) && !c.reported_exit && !killed) {
    // The sandbox came up and the command was not to be found, or it did not come up.
    auto said = c.start_error.empty() ? std::string(text::trim(c.log->tail(512))) : c.start_error;
    c.exit_code = 128;
    c.reason = "StartError";
    auto name = c.sandbox.command.empty() ? std::string() : c.sandbox.command.front();
    c.message =
        (said.contains("execvp") && said.contains("No such file")) || said.contains("executable file not found")
            ? fmt::format("failed to create containerd task: exec: \"{}\": executable file not found in $PATH", name)
            : "failed to start container: " + said;
    event("Warning", "Failed", "Error: " + c.message);
  }
  if (c.message.empty() && c.process) {
    c.message = read_or_empty(c.sandbox.folder + "/termination-log", kTerminationMessage);
    if (c.message.empty() && c.exit_code != 0 &&
        kube::text_at(c.spec, "terminationMessagePolicy") == "FallbackToLogsOnError")
      c.message = c.log->tail(2048);
  }
  if (c.message.empty() && c.builtin && c.exit_code != 0 &&
      kube::text_at(c.spec, "terminationMessagePolicy") == "FallbackToLogsOnError")
    c.message = c.log->tail(2048);
  c.log->finish();
  c.log.reset();
  c.output->end();
  if (c.in) c.in->close();
  if (c.terminal >= 0) ::close(std::exchange(c.terminal, -1));
  for (auto& e : c.ends) e->close();
  c.ends.clear();
  c.process.reset();
  c.builtin.reset();
  c.cgroup.reset();
  c.init_pid = -1;
  c.warm.reset();
  c.state = State::terminated;
  c.counted = false;
  c.ready = c.started = false;
  c.finished_at = kube::now_text();
  // The first restart is at once; after that the wait doubles, until a run has lasted ten minutes.
  if (mono_ms() - c.began_ms >= kForgetBackoffMs) c.backoff_ms = 0;
  c.not_before_ms = mono_ms() + c.backoff_ms;
  c.waiting_reason = "CrashLoopBackOff";
  c.waiting_message =
      fmt::format("back-off {} restarting failed container={} pod={}", back_off_text(c.backoff_ms), c.name, label_);
  c.backoff_ms = c.backoff_ms == 0 ? kFirstBackoffMs : std::min(c.backoff_ms * 2, kLastBackoffMs);
  wake();
}

void Worker::stop_container(Container& c, long grace_ms, std::string why) {
  if (std::exchange(c.stopping, true)) {
    // A shorter grace than before counts: the pod was deleted with force meanwhile.
    if (c.kill_at_ms != 0 || grace_ms <= 2000) terminate(c, grace_ms);
    return;
  }
  if (!why.empty()) event("Normal", "Killing", std::move(why));
  for (auto& p : c.probes) p->timer.cancel();
  task::detach(stop_gently(shared_from_this(), c, c.run, grace_ms));
}

task::Task<void> Worker::stop_gently(std::shared_ptr<Worker>, Container& c, unsigned run, long grace_ms) {
  if (const auto& hook = kube::object_at(c.spec, "lifecycle.preStop"); !hook.empty() && !closing_ && !removed_) {
    auto before = mono_ms();
    auto done = co_await act(c, hook, grace_ms);
    if (!done) event("Warning", "FailedPreStopHook", "PreStopHook failed: " + done.error().message);
    grace_ms = std::max(grace_ms - static_cast<long>(mono_ms() - before), 2000L);
  }
  // The Services that lead here hear of the deletion at the same time: what they send meanwhile is still answered.
  if (!closing_ && !removed_ && grace_ms > 2 * kDrainMs && kube::deleting(*pod_)) {
    co_await task::sleep_ms(kDrainMs);
    grace_ms -= kDrainMs;
  }
  if (c.run == run) terminate(c, grace_ms);
}

void Worker::terminate(Container& c, long grace_ms) {
  auto at = mono_ms() + grace_ms;
  if (c.kill_at_ms != 0 && c.kill_at_ms <= at) return;
  c.kill_at_ms = at;
  if (c.builtin) {
    c.builtin->stop(grace_ms);
    return;
  }
  if (!c.process) return;
  if (c.engine) {
    signal_container(c, c.stop_signal);
    c.kill_timer.start(std::max(grace_ms, 1L), [weak = weak_from_this(), &c, run = c.run] {
      if (auto self = weak.lock(); self && c.run == run && c.process) signal_container(c, "SIGKILL");
    });
    return;
  }
  auto pid = program_pid(c);
  if (pid > 0)
    ::kill(pid, SIGTERM);
  else
    c.process->kill(SIGKILL);  // still being set up: nothing of the pod's has begun
  c.kill_timer.start(std::max(grace_ms, 1L), [weak = weak_from_this(), &c, run = c.run] {
    if (auto self = weak.lock(); self && c.run == run && c.process) c.process->kill(SIGKILL);
  });
}

// For hosts where no control group can be made: the kernel counts nothing for us, so we look.
void Worker::watch_memory(Container& c) {
  if (c.memory_limit <= 0 || !c.process) return;
  c.watch_timer.start(kMemoryLookMs, [weak = weak_from_this(), &c, run = c.run] {
    auto self = weak.lock();
    if (!self || c.run != run || !c.process) return;
    if (resident_bytes(counted_pid(c)) > c.memory_limit) {
      c.oom = true;
      if (c.engine)
        signal_container(c, "SIGKILL");
      else
        c.process->kill(SIGKILL);
      return;
    }
    self->watch_memory(c);
  });
}

}  // namespace mr::node
