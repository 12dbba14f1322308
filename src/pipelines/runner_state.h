// The inside of the runner. Internal to runner*.cpp; everything on the runner's loop.
#pragma once
#include <deque>
#include <map>
#include <set>

#include "kube/kit.h"
#include "pipelines/runner.h"
#include "pipelines/step.h"
#include "task/event.h"

namespace mr::pipelines {

// A run whose engine is in memory.
struct Live {
  Run run;
  std::unique_ptr<Engine> engine;
  std::set<std::string> killed;             // leaves whose pod shall end, or not begin
  std::map<std::string, std::string> held;  // leaf -> what keeps its pod from starting
  bool deleted = false;                     // while something of it was under way: its files go with its end
  std::size_t busy = 0;                     // leaves that are being carried out
  std::int64_t deadline_ms = 0;
  std::string tracking_experiment, tracking_run;  // on the tracking server; empty: none
  std::map<std::string, std::string> nested;      // leaf -> its run there
  bool tracking_ended = false;
};
using LivePtr = std::shared_ptr<Live>;

// At most n at once; the rest wait in order.
class Slots {
 public:
  explicit Slots(std::size_t n) : free_(n) {}
  auto take() {
    struct Awaiter {
      Slots& s;
      bool await_ready() const {
        if (s.free_ == 0) return false;
        --s.free_;
        return true;
      }
      void await_suspend(std::coroutine_handle<> h) const { s.waiting_.push_back(h); }
      void await_resume() const {}
    };
    return Awaiter{*this};
  }
  void give() {
    if (waiting_.empty()) {
      ++free_;
      return;
    }
    auto h = waiting_.front();  // the slot is handed over
    waiting_.pop_front();
    task::resume_later(h);
  }

 private:
  std::size_t free_;
  std::deque<std::coroutine_handle<>> waiting_;
};

// How a pod ended.
struct PodEnd {
  bool ok = false, gone = false;  // gone: deleted before its end was seen
  Error error;
};

// What keeps a pod from starting: "FailedMount: MountVolume.SetUp failed for volume …".
struct Held {
  std::string why;
  bool by_time = false;  // it may come by waiting (room on the node); else only by somebody's hand
};

// The event that ends attempt `attempt` of a leaf.
Event ended(const NodeView& n, int attempt, Event::Kind kind);

struct Runner::Impl : std::enable_shared_from_this<Runner::Impl> {
  kube::Client& client;
  kube::Pods& logs;
  Store& store;
  ArtifactFiles& files;
  RunnerOptions options;
  task::Loops loops{1};
  task::Loop& loop;
  kube::Manager manager;
  kube::Informer& pods;
  std::map<std::string, LivePtr> live;
  std::deque<std::pair<std::string, LivePtr>> recent;  // finished runs that were looked at, newest last
  std::map<kube::Key, task::Event*> waiting;           // for changes of a pod
  std::int64_t tidied_ms = 0;                          // when the pods of finished steps were last counted
  std::int64_t cache_tidied_ms = 0;
  Slots slots;
  task::Group group;
  bool stopping = false;
  task::Timer clock;

  Impl(kube::Client& c, kube::Pods& p, Store& s, ArtifactFiles& f, RunnerOptions o)
      : client(c),
        logs(p),
        store(s),
        files(f),
        options(std::move(o)),
        loop(loops.at(0)),
        manager(loop, c),
        pods(manager.informer(kube::gvr::pods)),
        slots(options.max_pods) {}

  // runner.cpp
  Result<LivePtr> load(const std::string& id);  // from the store, its events replayed
  task::Task<void> take_up(std::string id, bool fresh);
  void dispatch(const LivePtr& l, std::vector<Command> commands);
  // Applies, keeps, and does what follows. Errors: the event does not fit (nothing was kept).
  task::Task<Result<void>> record(LivePtr l, Event e);
  void retire(const LivePtr& l);
  void tick();
  Result<LivePtr> find(const std::string& id);

  // runner_tidy.cpp
  void clear_folders(const std::vector<std::string>& unfinished) const;
  task::Task<void> clear_logs();
  void tidy_pods();
  task::Task<void> tidy_cache();
  void forget(const std::string& run_id);
  void drop_files(const std::string& run_id) const;
  [[nodiscard]] static std::string resource_ttl(const Plan& plan);
  [[nodiscard]] bool is_expired(const std::string& run_id, std::string_view ttl) const;

  // runner_steps.cpp
  task::Task<void> carry_out(LivePtr l, std::string node, int attempt, std::int64_t not_before);
  task::Task<void> attempt(LivePtr l, NodeView n, int attempt);
  task::Task<Result<void>> run_step(LivePtr l, NodeView n, Event& end);
  task::Task<void> again(LivePtr l, NodeView n);
  // runner_pods.cpp
  task::Task<std::optional<Held>> held_by(kube::ObjectPtr pod);
  static void tell_held(const Live& l, NodeView& n);
  // runner_podless.cpp
  task::Task<void> import(LivePtr l, NodeView n, int attempt);
  task::Task<bool> from_cache(LivePtr l, const NodeView& n, int attempt, std::string& note);
  task::Task<void> volume_claim(LivePtr l, NodeView n, int attempt, bool create);
  // runner_steps.cpp
  task::Task<void> kill(LivePtr l, std::string node);
  task::Task<PodEnd> wait_for(LivePtr l, std::string node, kube::Key key);
  task::Task<std::optional<std::string>> save_log(kube::ObjectPtr pod, std::string path);
  task::Task<Result<void>> check_devices(kube::Object pod);
  task::Task<void> forget_pod(kube::Key key);
  // runner_tracking.cpp
  task::Task<void> begin_tracking(LivePtr l);
  task::Task<void> begin_nested(LivePtr l, NodeView n);
  task::Task<void> end_nested(LivePtr l, NodeView n, const Event& end);
  task::Task<void> end_tracking(LivePtr l);
  [[nodiscard]] std::vector<std::pair<std::string, std::string>> step_env(const LivePtr& l,
                                                                          const std::string& node) const;

  [[nodiscard]] Step::Scope scope(const LivePtr& l, const std::string& node) const;
  [[nodiscard]] Result<Step> make_step(const LivePtr& l, const NodeView& n) const;
  [[nodiscard]] std::string step_folder(const LivePtr& l, const NodeView& n) const;
  void clear_step(const LivePtr& l, const NodeView& n) const;
  [[nodiscard]] std::string log_path(const std::string& run_id, const std::string& node, int attempt) const;
  [[nodiscard]] std::vector<std::string> claims_of(const LivePtr& l, const NodeView& n) const;
};

}  // namespace mr::pipelines
