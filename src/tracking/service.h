// The tracking service: database, artifact stores and settings that its routes share. Lives as long as the server;
// thread safe (the database serialises writes, the rest is read only).
#pragma once
#include <memory>
#include <string>

#include "http/router.h"
#include "sql/database.h"
#include "tracking/api.h"
#include "tracking/message.h"

namespace mr::tracking {

struct Options {
  std::string database;                              // path of the SQLite file
  std::string artifact_root = "mlflow-artifacts:/";  // where new experiments keep artifacts
  bool serve_artifacts = true;                       // the proxy at /api/2.0/mlflow-artifacts
  std::string static_prefix;                         // "/p" or empty
  std::vector<std::string> allowed_hosts;            // besides this machine's names; "*": any
  std::string ui_folder;                             // MLflow's built web UI; empty: a page that says how to get it
};

struct Located {
  ArtifactStore* store = nullptr;
  std::string path;  // may be empty: the root
};

class Tracking {
 public:
  // Opens or makes the database. `proxied` answers mlflow-artifacts:/; `bucket_store` gives the store of s3://bucket,
  // or nullptr.
  static Result<std::unique_ptr<Tracking>> open(Options options, std::shared_ptr<ArtifactStore> proxied,
                                                std::function<ArtifactStore*(const std::string& bucket)> bucket_store);

  sql::Database& db() { return *db_; }
  const Options& options() const { return options_; }
  ArtifactStore* proxied() { return proxied_.get(); }
  // Which store and path an artifact URI names. Errors: a scheme that this server cannot read.
  Result<Located> locate(const std::string& uri);
  void add_routes(http::Router& router);
  // The handler of the whole listener: prefix, host and origin checks, routes, UI.
  http::Handler handler(http::Router router);
  // The artifact URI of "models:/name/1", "models:/name@alias", "models:/m-…" or "runs:/id/path", for serving.
  Result<std::string> resolve_model_uri(const std::string& uri);
  void stop() { db_->stop(); }

 private:
  Tracking() = default;
  Options options_;
  std::unique_ptr<sql::Database> db_;
  std::shared_ptr<ArtifactStore> proxied_;
  std::unique_ptr<ArtifactStore> local_;
  std::function<ArtifactStore*(const std::string&)> bucket_store_;
};

// Registers one endpoint under /api and /ajax-api. `fn` gives the answer's JSON text. What is not MLflow's has another
// family than "mlflow".
using EndpointFn = std::function<task::Task<Result<std::string>>(http::Request&, Message)>;
void add_endpoint(http::Router& router, http::Method method, std::string_view path, std::span<const Field> fields,
                  EndpointFn fn, std::string_view version = "2.0", std::string_view family = "mlflow");

void add_experiment_routes(http::Router& router, Tracking& t);  // routes_experiments.cpp
void add_run_routes(http::Router& router, Tracking& t);         // routes_runs.cpp
void add_metric_routes(http::Router& router, Tracking& t);      // routes_metrics.cpp
void add_model_routes(http::Router& router, Tracking& t);       // routes_models.cpp
void add_registry_routes(http::Router& router, Tracking& t);    // routes_registry.cpp
void add_artifact_routes(http::Router& router, Tracking& t);    // routes_artifacts.cpp
void add_graphql_routes(http::Router& router, Tracking& t);     // routes_graphql.cpp
void add_ui_routes(http::Router& router, Tracking& t);          // routes_ui.cpp

}  // namespace mr::tracking
