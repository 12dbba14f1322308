// One pod's life: the steps from its manifest to running containers and its end, and the status that tells of it.
// Internal to node/. Everything happens on the node's loop. A Worker is shared by the node and by what it waits for;
// after stop() or the pod's end it starts nothing more.
#pragma once
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "node/cgroup.h"
#include "node/container.h"
#include "node/disk_use.h"
#include "node/env.h"
#include "node/environments.h"
#include "node/images.h"
#include "node/log_file.h"
#include "node/node.h"
#include "node/process.h"
#include "node/sandbox.h"
#include "node/volumes.h"
#include "node/warm.h"
#include "task/event.h"

namespace mr::node {

// What all workers share.
struct Context {
  kube::Manager& manager;
  task::Loop& loop;
  NodeOptions options;
  Images images;
  Environments environments;
  WarmInterpreters warm;
  std::shared_ptr<Containers> containers;
  std::vector<std::pair<std::string, std::shared_ptr<BuiltinRuntime>>> runtimes;
  Find find;
  kube::Informer* services = nullptr;
  std::string host_ip = "127.0.0.1";
  std::string bind_shim;
  double cpus = 1;
  std::int64_t memory = 0;
  std::function<Result<std::string>()> allocate_ip;
};

// Output of a running container for those who are attached to it; they may be on other loops.
class Output {
 public:
  struct Piece {
    int channel = 1;
    std::string bytes;
  };
  struct Reader {
    std::mutex mutex;
    std::deque<Piece> queue;
    std::size_t size = 0;
    Changes changes;
  };
  std::shared_ptr<Reader> add();
  void write(int channel, std::string_view bytes);
  void end();

 private:
  std::vector<std::weak_ptr<Reader>> readers_;
  bool over_ = false;
};

// Between two attempts at a container.
inline constexpr long kFirstBackoffMs = 10'000, kLastBackoffMs = 300'000;

enum class Kind : std::uint8_t { init, sidecar, main };
enum class State : std::uint8_t { waiting, running, terminated };

struct Container;
// One of a container's three probes.
struct Probe {
  std::string_view kind;  // "Liveness", "Readiness", "Startup"
  kube::Object spec;
  int failures = 0, successes = 0;
  task::Timer timer;
};

struct Container {
  kube::Object spec;
  std::string name, image;
  Kind kind = Kind::main;
  State state = State::waiting;
  std::string waiting_reason = "PodInitializing", waiting_message;
  std::string id, image_id;
  std::string started_at, finished_at;
  int exit_code = 0;
  std::string reason, message;       // of the termination
  std::optional<kube::Object> last;  // lastState
  int restarts = 0;
  bool ready = false, started = false;

  // The present run.
  unsigned run = 0;  // callbacks of an earlier one are ignored
  std::unique_ptr<Process> process;
  std::unique_ptr<BuiltinContainer> builtin;
  std::unique_ptr<Cgroup> cgroup;
  std::unique_ptr<LogWriter> log;
  std::shared_ptr<Changes> changes;
  std::shared_ptr<Output> output;
  std::shared_ptr<http::ByteStream> in;                 // standard input, or the terminal
  std::vector<std::shared_ptr<http::ByteStream>> ends;  // what is read from it
  int terminal = -1;
  SandboxSpec sandbox;
  int init_pid = -1;
  std::shared_ptr<WarmInterpreter> warm;  // whose copy runs in the sandbox
  std::optional<Engine> engine;  // what runs it, when it is a real container; then `process` is the engine's client
  std::string engine_name, stop_signal, start_error;
  bool reported_exit = false;
  int pending = 0;  // ends that have not come yet: exit, output, status
  int wait_status = 0;
  bool stopping = false, oom = false;
  long memory_limit = 0;
  bool counted = false;         // this start is in `restarts`
  std::int64_t began_ms = 0;    // monotonic
  std::int64_t kill_at_ms = 0;  // 0: nobody has asked it to end
  task::Timer kill_timer, watch_timer, drain_timer;
  std::vector<std::unique_ptr<Probe>> probes;

  // Between runs.
  long backoff_ms = 0;
  std::int64_t not_before_ms = 0;  // monotonic
  std::string failure;             // the last reason that starting it failed for ("ErrImagePull")
  bool told_backoff = false;
};

class Worker : public std::enable_shared_from_this<Worker> {
 public:
  Worker(std::shared_ptr<Context> context, kube::ObjectPtr pod);
  // Runs until the pod is gone or stop().
  task::Task<void> run();
  void update(kube::ObjectPtr pod);
  void removed();  // the object is gone: nobody asks for grace any more
  void stop();     // the program ends
  // Something that the pod refers to has changed (a ConfigMap, a Secret, the names of Services).
  void refresh(bool hosts_only);
  [[nodiscard]] const kube::ObjectPtr& pod() const { return pod_; }
  [[nodiscard]] Container* find(std::string_view name);
  [[nodiscard]] const std::vector<std::unique_ptr<Container>>& containers() const { return containers_; }
  [[nodiscard]] bool over() const { return over_; }
  [[nodiscard]] const std::string& pod_ip() const { return pod_ip_; }
  [[nodiscard]] std::string log_folder(const std::string& container) const;
  // What of the disk is the pod's, and its end because it takes too much. Nothing happens once it is over.
  [[nodiscard]] std::vector<std::string> disk() const { return pod_disk(*pod_, disk_folders()); }
  [[nodiscard]] bool running() const { return any_running() && fail_reason_.empty(); }
  void evict(std::string message);

 private:
  // worker.cpp: what to do next
  task::Task<void> sync();
  task::Task<bool> prepare();
  task::Task<void> sync_containers();
  void load_status();
  void load_container(Container& c, const kube::Object& status);
  void check_deadline();
  void stop_all(long grace_ms);
  [[nodiscard]] bool any_running() const;
  [[nodiscard]] bool restarts(const Container& c) const;
  void again_in(long ms);
  void wake() { event_.set(); }
  void cleanup();
  void drop_folders();
  [[nodiscard]] PodFacts facts() const;
  [[nodiscard]] VolumeContext volume_context() const;
  void event(std::string_view type, std::string_view reason, std::string message) const;

  // worker_start.cpp: one container
  task::Task<void> start(Container& c);
  task::Task<Result<void>> launch(Container& c);
  task::Task<Result<void>> launch_process(Container& c, Image image, Env env, std::vector<Mount> mounts);
  // In the sandbox of `s`, a copy of an interpreter that stands by.
  task::Task<Result<void>> launch_warm(Container& c, SandboxSpec s, const std::string& bubblewrap);
  // Starts `c.process` with pipes or a terminal; `over` is called once it has exited, and end_came() must follow.
  Result<void> begin(Container& c, SpawnOptions options, std::move_only_function<void(int)> over);
  void failed_start(Container& c, const Error& e);
  task::Task<void> read_output(std::shared_ptr<Worker> self, Container& c, unsigned run, int channel,
                               std::shared_ptr<http::ByteStream> from);
  task::Task<void> read_status(std::shared_ptr<Worker> self, Container& c, unsigned run,
                               std::shared_ptr<http::ByteStream> from, std::shared_ptr<task::Event> first);

  // worker_end.cpp
  void end_came(Container& c, unsigned run);
  void ended(Container& c);
  void stop_container(Container& c, long grace_ms, std::string why);
  task::Task<void> stop_gently(std::shared_ptr<Worker> self, Container& c, unsigned run, long grace_ms);
  void terminate(Container& c, long grace_ms);
  void watch_memory(Container& c);

  // worker_disk.cpp
  [[nodiscard]] PodFolders disk_folders() const;
  void watch_disk();
  task::Task<void> look_at_disk(std::shared_ptr<Worker> self, std::vector<DiskUser> users);

  // worker_container.cpp: one that an engine runs
  task::Task<Result<EngineImage>> take_image(Container& c, Engine engine, bool& pulled);
  task::Task<std::string> pull_credentials();
  task::Task<Result<void>> launch_container(Container& c, EngineImage image, Env env, std::vector<Mount> mounts);
  task::Task<void> container_over(std::shared_ptr<Worker> self, Container& c, unsigned run);
  static void signal_container(const Container& c, std::string signal);
  [[nodiscard]] bool unwanted() const { return closing_ || removed_ || kube::deleting(*pod_); }
  void cancel_pull() {
    if (pull_ && unwanted()) pull_->cancel();
  }

  // worker_probe.cpp
  void start_probes(Container& c);
  void schedule(Container& c, Probe& p, long ms);
  task::Task<void> probe_once(std::shared_ptr<Worker> self, Container& c, unsigned run, Probe& p);
  void probe_result(Container& c, Probe& p, const Result<void>& result);
  // An action of a probe or hook: exec, httpGet, tcpSocket, grpc, sleep.
  task::Task<Result<void>> act(Container& c, kube::Object action, long timeout_ms);
  task::Task<Result<void>> run_inside(Container& c, std::vector<std::string> command, long timeout_ms);
  void watch_builtin(Container& c);

  // worker_status.cpp
  [[nodiscard]] kube::Object make_status() const;
  task::Task<void> write_status();
  void wake_if_changed();

  std::shared_ptr<Context> ctx_;
  kube::ObjectPtr pod_;
  std::string uid_, label_;  // label_: name_namespace(uid), as messages name it
  std::string folder_;
  std::string pod_ip_, start_time_;
  std::vector<std::unique_ptr<Container>> containers_;  // init first
  std::map<std::string, std::string> volumes_;
  std::string api_access_;
  bool prepared_ = false, initialized_ = false, work_over_ = false;
  long prepare_backoff_ms_ = 0;
  std::string fail_reason_, fail_message_;  // of the whole pod: DeadlineExceeded, Evicted
  std::optional<long> fail_grace_ms_;       // instead of the pod's own grace
  bool dropped_ = false;                    // its folders are gone
  bool closing_ = false, over_ = false, removed_ = false, terminal_ = false;
  bool refresh_volumes_ = false, refresh_hosts_ = false;
  std::shared_ptr<Containers::Call> pull_;  // an image is being fetched
  kube::Object written_;                    // the status that was written last
  task::Event event_;
  task::Timer timer_, deadline_timer_, refresh_timer_, disk_timer_;
  std::int64_t timer_at_ = 0;
};

// Where less than the options' min_free_disk is left on the node's disk, the pod that takes most of it is evicted.
task::Task<void> relieve_disk(std::string data_folder, std::int64_t min_free,
                              std::vector<std::shared_ptr<Worker>> workers);

// The phase by the kubelet's rules.
std::string pod_phase(const kube::Object& spec, const std::vector<std::unique_ptr<Container>>& containers, bool failed,
                      bool initialized);
std::string qos_class(const kube::Object& pod);
// The texts of an array of the container's, with $(NAME) expanded.
std::vector<std::string> texts_at(const kube::Object& container, std::string_view path,
                                  const std::map<std::string, std::string>& env);
Limits limits_of(const kube::Object& container);
// The process that the pod's program runs in, as this machine numbers it; -1: none yet, or no more.
int program_pid(const Container& c);
// Which process the container's resources are counted from; -1: none.
int counted_pid(const Container& c);
std::int64_t mono_ms();

}  // namespace mr::node
