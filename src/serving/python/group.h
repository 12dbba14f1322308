// The worker processes of one model, in Python or of ONNX Runtime: a queue in front of replicas, each a sandboxed
// process that is started, watched, given batches, and started anew with growing pauses when it ends. Everything here
// lives on one loop.
#pragma once
#include <atomic>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "node/images.h"
#include "serving/load.h"
#include "serving/python/wire.h"
#include "task/event.h"
#include "task/task.h"

namespace mr::node {
struct SandboxSpec;
}

namespace mr::serving::python {

struct WorkerOptions {
  bool allow_network = false;
  std::int64_t memory = 0;         // bytes of each worker; 0: no limit
  long start_timeout_ms = 120000;  // from the start of the process until it can answer
  long request_timeout_ms = 60000;
  int replicas = 1;
  std::size_t batch_rows = 64;  // how many rows of waiting requests are computed at once; 1: no batches
  std::size_t queue = 1000;     // requests that wait
};

// ONNX Runtime instead of Python: this program itself, which opens the library inside the sandbox.
struct OnnxProgram {
  std::string program;             // the path of this program
  std::string library;             // libonnxruntime.so, wherever it lies
  std::string file;                // the model, inside the worker's /mnt/models
  std::vector<std::string> files;  // what of the model's folder the worker sees; empty: all of it
  std::vector<std::string> args;   // further ones of `millrace onnx-worker`
};

struct GroupSpec {
  WorkerOptions options;
  PythonModel model;
  std::optional<OnnxProgram> onnx;  // instead of the two that follow
  node::Interpreter python;
  std::string environment;  // the made environment's folder
  std::string folder;       // what the workers' own views lie in
  std::string cache;        // where a sandbox has the installer's cache; need not exist
};

struct Job {
  Call call;
  std::move_only_function<void(Result<Output>)> done;  // called once, on the loop
  std::uint64_t deadline_ns = 0;
  bool alone = false;                   // not joined with others any more
  std::optional<ScoringAnswer> scored;  // of a scoring_call(): set before done() is called with an empty output
};

class Group : public std::enable_shared_from_this<Group> {
 public:
  explicit Group(GroupSpec spec);
  ~Group();
  // Starts the replicas; the task ends when one is ready, or with the reason why the first attempt failed.
  task::Task<Result<>> start();
  void submit(std::shared_ptr<Job> job);
  [[nodiscard]] bool scores() const { return scores_; }
  // Ends the processes and refuses what waits; the group lives on until they are gone.
  void close();
  task::Task<void> ended();
  // What the first worker said of itself; after start().
  [[nodiscard]] const Answer& ready() const { return ready_; }

 private:
  struct Replica;
  task::Task<void> run(std::shared_ptr<Group> self, Replica& r);
  task::Task<Result<>> bring_up(Replica& r);
  Result<> describe_sandbox(Replica& r, node::SandboxSpec& s) const;
  task::Task<Result<>> work(Replica& r);
  task::Task<Result<Answer>> exchange(Replica& r, const std::string& message);
  task::Task<Result<Answer>> receive(Replica& r);
  task::Task<Result<>> fill(Replica& r, std::size_t bytes);
  task::Task<void> end(Replica& r);
  task::Task<void> read_log(std::shared_ptr<Group> self, Replica& r);
  void watch_memory(Replica& r);
  void settle(std::vector<std::shared_ptr<Job>>& batch, Result<Answer> answer);
  void finish(Job& job, Result<Output> result);
  std::vector<std::shared_ptr<Job>> take();
  [[nodiscard]] std::string memory_text() const;
  [[nodiscard]] std::string not_started(std::string_view why) const;
  void sweep();
  void wake();
  void say(std::string_view text);
  [[nodiscard]] bool any_ready() const;

  GroupSpec spec_;
  std::vector<std::unique_ptr<Replica>> replicas_;
  std::deque<std::shared_ptr<Job>> waiting_;
  std::vector<std::weak_ptr<Job>> computing_;
  std::string broken_;  // why no worker could be started; empty while one is up or on its way
  bool closing_ = false, joins_ = true, first_known_ = false, sweeping_ = false;
  std::atomic<bool> scores_ = false;  // the workers take scoring_call(); known when start() has ended
  std::size_t running_ = 0;
  std::uint64_t next_id_ = 1;
  Result<> first_;
  Answer ready_;
  task::Event first_event_, ended_event_;
  task::Timer sweeper_;
};

}  // namespace mr::serving::python
