// The state machine of one run. Pure: no clock, no disk, no pods. What happens to leaves (pods, cache hits, importers)
// comes in as Events, which are kept; the states of DAGs, loops, conditions and of the run itself are derived from
// them, so that they cannot disagree, and applying the kept events again gives the same run. Not thread safe: one run
// belongs to one thread at a time.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "pipelines/plan.h"

namespace mr::pipelines {

// What is kept of a run's life, in order.
struct Event {
  enum class Kind : std::uint8_t {
    started,    // an attempt of a leaf is about to be carried out
    succeeded,  // it is over, with its outputs
    failed,     // it is over, with its error; a retry policy may ask for another
    cached,     // an earlier execution's outputs stand for this one's
    terminate,  // the user wants the run to end
    retry,      // what failed or did not run shall run again
    deadline,   // the run's own time limit is over
  } kind = Kind::started;
  std::int64_t time_ms = 0;
  std::string node;  // the path of a leaf: "train", "for-loop-2/3/train"; empty for the last three
  int attempt = 0;
  std::string pod;    // started: the pod's name
  std::string uuid;   // started: of this execution; part of its artifacts' URIs
  Object parameters;  // outputs
  std::map<std::string, std::vector<Artifact>> artifacts;
  std::string cache_note;  // "hit because …", "miss because …"
  std::string cached_run, cached_node;
  std::optional<Error> error;
};
Value to_json(const Event& e);
Result<Event> event_from_json(const Value& v);

// What the outside shall do. The engine says each only once until an event answers it.
struct Command {
  enum class Kind : std::uint8_t {
    launch,  // carry out attempt `attempt` of leaf `node`, not before `not_before_ms`
    kill,    // end the pod of leaf `node`; a `failed` event follows
  } kind = Kind::launch;
  std::string node;
  int attempt = 0;
  std::int64_t not_before_ms = 0;
};

// A task instance, as details of a run show it.
struct NodeView {
  std::string path;    // "", the root; unique in the run
  std::string parent;  // path
  std::string key;     // of the task; iterations: the loop's key
  std::string display_name;
  const Task* task = nullptr;  // null for the root
  const Component* component = nullptr;
  int iteration = -1;  // of a loop's child; the loop itself: -1
  bool loop = false;   // a ParallelFor whose children are iterations
  State state = State::pending;
  std::int64_t created_ms = 0, started_ms = 0, finished_ms = 0;
  std::optional<Error> error;
  std::vector<StateChange> history;
  Object inputs;  // resolved parameters, without those left out
  std::map<std::string, std::vector<Artifact>> input_artifacts;
  Object outputs;
  std::map<std::string, std::vector<Artifact>> output_artifacts;
  int attempts = 0;
  std::string pod, uuid, cache_note, cached_run, cached_node;
  std::vector<std::string> children;  // paths
  std::string waiting_for;            // what keeps its pod from starting; the engine knows nothing of it
};

// Facts about the run that reach inputs and placeholders.
struct RunFacts {
  std::string run_id, name, resource_name, ns;
  std::int64_t created_ms = 0, scheduled_ms = 0;
  std::string workspace_path;
};

class Engine {
 public:
  // `parameters` have passed check_parameters().
  Engine(std::shared_ptr<const Plan> plan, RunFacts facts, Object parameters);
  ~Engine();
  Engine(Engine&&) noexcept;
  // Begins the run at `time_ms`; to be called once, before any event.
  void begin(std::int64_t time_ms);
  // Errors: failed_precondition (no such leaf, or its attempt is not the current one): the event must not be kept.
  Result<void> apply(const Event& e);
  // What is to be done now, in order; empty after it was taken.
  std::vector<Command> take_commands();
  // Leaves that have started and have no end yet: what a restart takes up again.
  [[nodiscard]] std::vector<NodeView> running() const;

  // What an InputParameterSpec of the platform's settings gives in the scope of `path`'s task: a constant, an input of
  // the enclosing DAG, an output of a task beside it. nullopt: it has no value.
  [[nodiscard]] Result<std::optional<Value>> in_scope(const std::string& path, const Value& parameter) const;

  [[nodiscard]] State state() const;
  [[nodiscard]] std::optional<Error> error() const;
  [[nodiscard]] std::int64_t finished_ms() const;
  [[nodiscard]] const std::vector<StateChange>& history() const;
  [[nodiscard]] std::optional<NodeView> node(const std::string& path) const;
  // Parents before children. Without `values`, parameters stay empty: they may be large, and loops repeat them.
  [[nodiscard]] std::vector<NodeView> nodes(bool values) const;
  [[nodiscard]] std::size_t node_count() const;
  [[nodiscard]] const RunFacts& facts() const;
  [[nodiscard]] const Plan& plan() const;

  struct Impl;

 private:
  std::unique_ptr<Impl> impl_;
};

}  // namespace mr::pipelines
