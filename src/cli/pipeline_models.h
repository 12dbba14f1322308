// Names of the tracking server for `millrace lineage`: which object a model's version, a logged model or a run's path
// is, and which pipeline step had the run that logged it. Blocking, for the command line.
#pragma once
#include <string>
#include <vector>

#include "core/error.h"
#include "http/client.h"
#include "json/parse.h"

namespace mr::cli {

struct TrackedName {
  std::string title;              // "version 3 of churn, champion"
  std::vector<std::string> uris;  // of the object itself, the nearest first
  std::string run_id;             // of the MLflow run that logged it; empty: not known
};

// The run of the pipelines that an MLflow run belongs to; empty where the server knows of none.
struct TrackedStep {
  std::string pipeline_run, name;  // the step's path or display name
};

class TrackingServer {
 public:
  // `urls`: where it may be; the first that answers is asked from then on.
  explicit TrackingServer(std::vector<std::string> urls) : urls_(std::move(urls)) {}
  // Whether `uri` is a name of the tracking server's: models:/…, runs:/….
  static bool names(std::string_view uri);
  // Errors: not_found (with the server's own words), unavailable.
  Result<TrackedName> resolve(const std::string& uri);
  // What the tracking server knows of an artifact of its own (mlflow-artifacts:/…, or its s3:// name).
  TrackedName of_artifact(const std::string& uri);
  TrackedStep step_of(const std::string& run_id);

 private:
  Result<boost::json::value> get(const std::string& path);
  Result<boost::json::value> post(const std::string& path, const boost::json::object& body);
  Result<boost::json::value> send(http::Method method, const std::string& path, std::string_view body);
  Result<TrackedName> of_version(const boost::json::value& answer);
  void follow(const std::string& source, TrackedName& name, int depth = 0);
  void logged_model(const std::string& id, TrackedName& name);
  void run_path(const std::string& run_id, const std::string& path, TrackedName& name);
  std::vector<std::string> urls_;
  http::Client client_;
};

}  // namespace mr::cli
