// The inside of the engine: nodes and how they change. Internal to engine*.cpp.
#pragma once
#include <deque>
#include <unordered_map>

#include "pipelines/engine.h"

namespace mr::pipelines {

using Shared = std::shared_ptr<const Value>;
using Parameters = std::map<std::string, Shared>;  // shared: a loop gives the same large list to each iteration
using Artifacts = std::map<std::string, std::vector<Artifact>>;

struct Node {
  std::string path;
  Node* parent = nullptr;
  const Task* task = nullptr;
  const Component* component = nullptr;
  int iteration = -1;
  bool loop = false;
  State state = State::pending;
  std::int64_t created_ms = 0, started_ms = 0, finished_ms = 0;
  std::optional<Error> error;
  std::vector<StateChange> history;
  Parameters inputs;
  Artifacts input_artifacts;
  Parameters outputs;
  Artifacts output_artifacts;
  std::vector<Node*> children;  // of a DAG by task index; of a loop by iteration
  std::size_t open = 0;         // children that are not over
  std::size_t waiting = 0;      // upstream tasks that are not over
  std::size_t next = 0;         // loop: the next iteration to look at
  std::size_t active = 0;       // loop: iterations that are under way
  bool any_failed = false;      // loop: none begins any more
  bool counted = false;         // iteration: among its loop's active ones
  // leaf
  int attempts = 0;       // that were begun
  int first_attempt = 1;  // of the present try; a retry of the run begins a new one
  std::int64_t first_started_ms = 0;
  bool in_flight = false;  // started, no end yet
  bool wanted = false;     // a launch was asked for and has not started
  std::string pod, uuid, cache_note, cached_run, cached_node;

  [[nodiscard]] bool leaf() const { return !loop && component->kind != ComponentKind::dag; }
  [[nodiscard]] bool succeeded() const { return state == State::succeeded; }
};

struct Engine::Impl {
  std::shared_ptr<const Plan> plan;
  RunFacts facts;
  Object parameters;
  std::deque<Node> nodes;  // stable addresses
  std::unordered_map<std::string, Node*> by_path;
  Node* root = nullptr;
  std::deque<Node*> work;  // to be looked at
  std::vector<Command> commands;
  std::int64_t now = 0;
  enum class Ending : std::uint8_t { no, canceled, deadline } ending = Ending::no;
  State state = State::pending;
  std::vector<StateChange> history;
  std::optional<Error> error;

  Node* add(std::string path, Node* parent, const Task* task, const Component* component);
  void set(Node& n, State s, std::optional<Error> e = std::nullopt);
  void set_run(State s, std::optional<Error> e = std::nullopt);
  void drain();
  void look_at(Node& n);
  void begin_node(Node& n);
  void begin_dag(Node& n);
  void begin_loop(Node& n, Array items, std::vector<Artifact> item_artifacts);
  void more_iterations(Node& n);
  void close(Node& n);
  void finish(Node& n, State s, std::optional<Error> e = std::nullopt);
  void want(Node& n, int attempt, std::int64_t not_before);
  void attempt_failed(Node& n, const Event& e);
  void end_all(Node& n);
  void reset(Node& n);

  // engine_values.cpp
  Result<void> resolve(Node& n);
  Result<bool> condition_holds(Node& n);
  [[nodiscard]] Result<std::optional<Value>> value_of(const Node& n, const Source& s) const;
  Result<void> dag_outputs(Node& n);
  void loop_outputs(Node& n);
  [[nodiscard]] Value final_status(const Node& n) const;
  [[nodiscard]] std::map<std::string, std::string> variables(const Node& n) const;
  [[nodiscard]] NodeView view(const Node& n, bool values) const;
};

}  // namespace mr::pipelines
