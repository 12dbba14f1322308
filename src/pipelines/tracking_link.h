// What the pipelines room asks of the tracking server: a parent run for a pipeline run, a nested run for each of its
// steps. Implemented where the program is put together. Each call resumes on the loop that made it. Source: KFP 2.17's
// mlflow plugin (what it creates, tags and closes).
#pragma once
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "core/error.h"
#include "task/task.h"

namespace mr::pipelines {

using Tags = std::vector<std::pair<std::string, std::string>>;

class TrackingLink {
 public:
  virtual ~TrackingLink() = default;
  struct Experiment {
    std::string id, name;
  };
  // By id when one is given (it must exist), else by name, made when it is not there.
  virtual task::Task<Result<Experiment>> experiment(std::string id, std::string name) = 0;
  virtual task::Task<Result<std::string>> create_run(std::string experiment_id, std::string name, Tags tags) = 0;
  virtual task::Task<Result<void>> log(std::string run_id, std::map<std::string, double> metrics,
                                       std::map<std::string, std::string> params) = 0;
  // status: RUNNING, FINISHED, FAILED, KILLED. end_ms 0: none.
  virtual task::Task<Result<void>> update_run(std::string run_id, std::string status, std::int64_t end_ms) = 0;
  // Where steps reach the server, and where people do.
  [[nodiscard]] virtual std::string inside_url() const = 0;
  [[nodiscard]] virtual std::string run_url(const std::string& experiment_id, const std::string& run_id) const = 0;
};

}  // namespace mr::pipelines
