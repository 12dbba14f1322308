// From a model's URI to a local path that serving can read. Blocking.
#pragma once
#include <optional>
#include <string>

#include "cli/settings.h"
#include "core/error.h"
#include "tracking/service.h"

namespace mr::cli {

// A folder of this process for fetched models; removed with its content at the end.
class FetchFolder {
 public:
  static Result<FetchFolder> make(const std::string& data);
  FetchFolder(FetchFolder&& o) noexcept : path_(std::exchange(o.path_, {})) {}
  FetchFolder& operator=(FetchFolder&&) = delete;
  ~FetchFolder();
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  explicit FetchFolder(std::string p) : path_(std::move(p)) {}
  std::string path_;
};

// Over the network, as `millrace serve` does: tracking server for models:/, runs:/ and mlflow-artifacts:/, S3 for
// s3://. `folder` is made on first need.
Result<std::string> fetch_model(const Settings& s, const std::string& uri, std::optional<FetchFolder>& folder);
// Inside `millrace up`: from the process's own stores.
Result<std::string> fetch_model_inside(tracking::Tracking& tracking, task::Loop& loop, const std::string& uri,
                                       const FetchFolder& folder);

// --model and --name paired up; errors when they do not match.
Result<std::vector<ModelSpec>> paired_models(const Settings& s);

}  // namespace mr::cli
