// What `millrace run|pipeline|lineage` ask: one connection to a pipelines API, and packages from files.
// One object, one thread; calls block.
#pragma once
#include <memory>
#include <string>
#include <string_view>

#include "cli/settings.h"
#include "http/client.h"
#include "pipelines/plan.h"

namespace mr::cli {

class PipelinesApi {
 public:
  // Nothing is asked yet.
  explicit PipelinesApi(const Settings& s);
  // `path` begins after /apis/v2beta1, with its query. Errors: what the server said; unavailable with what to do.
  Result<boost::json::value> get(const std::string& path);
  Result<boost::json::value> post(const std::string& path, const boost::json::object& body);
  // All pages of a list, as its items. `key`: under which they stand in an answer.
  Result<boost::json::array> list(std::string path, std::string_view key);
  // The end of a text: its last `most` bytes.
  Result<std::string> tail(const std::string& path, std::size_t most);

  [[nodiscard]] const std::string& url() const { return url_; }
  // What a command to be typed later must say to reach the same server; empty: nothing.
  [[nodiscard]] const std::string& flags() const { return flags_; }

 private:
  Result<boost::json::value> send(http::Method method, const std::string& path, std::string_view body);
  std::string url_, flags_;
  http::Client client_;
};

// A pipeline as a command takes it: its document and its plan.
struct LoadedPipeline {
  boost::json::value spec;  // as the API takes it
  std::shared_ptr<const pipelines::Plan> plan;
  std::string pipeline_id, version_id;  // of the server's; empty: from a file
};
// The document of a package file. Errors: not_found when there is no such file.
Result<boost::json::value> read_package(const std::string& path);
// The plan of a run, from the API's answer about it. Errors: its version is gone, or its spec is none of ours.
Result<std::shared_ptr<const pipelines::Plan>> plan_of_run(PipelinesApi& api, const boost::json::value& run);
// A file, or NAME, NAME@VERSION or an id of the server's pipelines.
Result<LoadedPipeline> load_pipeline(PipelinesApi& api, const std::string& what, const std::string& ns);

}  // namespace mr::cli
