// From a model's URI to a local path that serving can read. Blocking.
#pragma once
#include <optional>
#include <string>

#include "cli/settings.h"
#include "core/error.h"
#include "serving/model_cache.h"
#include "tracking/service.h"

namespace mr::objects {
class Client;
}
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

// Over the network: tracking server for models:/, runs:/ and mlflow-artifacts:/, S3 for s3://. `folder` is made on
// first need.
Result<std::string> fetch_model(const Settings& s, const std::string& uri, std::optional<FetchFolder>& folder);
// The same into the folder `target`; the answer is that, or the local path where the model lies already.
Result<std::string> fetch_model_into(const Settings& s, const std::string& uri, const std::string& target);
// As `millrace serve` does: kept on this machine where the source says what its content is. The cache is opened on
// first need: a local model is served where nothing can be written.
Result<std::shared_ptr<serving::CachedModel>> fetch_cached_model(const Settings& s, const std::string& uri,
                                                                 std::shared_ptr<serving::ModelCache>& cache);
// Where a model's files lie: an s3:// or mlflow-artifacts:/ URI, or a local path.
Result<std::string> model_location(const Settings& s, const std::string& uri);
// What names the present content below a prefix (or of the object itself), for the cache: keys and their tags; or
// empty.
std::string bucket_state(objects::Client& client, const std::string& where, const std::string& bucket,
                         const std::string& prefix);
// Inside `millrace up`: from the process's own stores.
Result<std::string> fetch_model_inside(tracking::Tracking& tracking, task::Loop& loop, const std::string& uri,
                                       const FetchFolder& folder);

// --model and --name paired up; errors when they do not match.
Result<std::vector<ModelSpec>> paired_models(const Settings& s);

}  // namespace mr::cli
