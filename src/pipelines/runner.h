// Carries runs out: keeps each run's Engine, records its events, makes a Pod for each step through kube::Client, links
// artifacts in and out, looks steps up in the cache. A restart replays the events of unfinished runs and goes on.
// Ownership: one loop of its own, on which everything happens; the calls of Runs may come from any loop.
#pragma once
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "kube/client.h"
#include "kube/pods.h"
#include "pipelines/artifact_files.h"
#include "pipelines/service.h"
#include "pipelines/tracking_link.h"

namespace mr::pipelines {

struct RunnerOptions {
  std::string folder;  // steps/ and logs/ beneath, on the file system of the object store
  std::string default_root = "s3://mlpipeline/v2/artifacts";
  std::function<std::int64_t()> now_ms;
  std::size_t max_pods = 16;           // that run at once; further steps wait
  std::string step_disk;               // how much of the disk a step may take, a quantity; empty: all of it
  std::size_t kept_pods = 200;         // finished ones that stay for kubectl
  bool cache = true;                   // server-wide
  std::int64_t cache_max_age_s = 0;    // 0: for ever
  std::set<std::string> cache_ignore;  // names of inputs whose values do not matter to the cache
  std::int64_t cache_entries = 100'000;
  long start_limit_s = 600;          // that a step waits for a volume or a node that is not there; 0: for ever
  TrackingLink* tracking = nullptr;  // outlives stop(); null: runs have no part on a tracking server
};

class Runner final : public Runs {
 public:
  Runner(kube::Client& client, kube::Pods& pods, Store& store, ArtifactFiles& files, RunnerOptions options);
  ~Runner() override;
  // Takes up the runs that are not over. Once the Kubernetes API serves.
  void begin();
  // Runs stay as they are on disk; their pods are ended by the node. Before the client's API and the store stop.
  void stop();

  void start(const std::string& run_id) override;
  void forget(const std::string& run_id) override;
  task::Task<Result<>> terminate(std::string run_id) override;
  task::Task<Result<>> retry(std::string run_id) override;
  task::Task<Result<std::vector<NodeView>>> nodes(std::string run_id) override;
  task::Task<Result<NodeView>> node(std::string run_id, std::string path) override;
  task::Task<Result<http::Response>> log(std::string run_id, std::string node, bool follow) override;

  struct Impl;

 private:
  std::shared_ptr<Impl> impl_;
};

}  // namespace mr::pipelines
