// The model table: names to loaded models, swapped whole, so that a request sees one state and never waits. Thread
// safe.
#pragma once
#include <atomic>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "metrics/metrics.h"
#include "serving/load.h"
#include "serving/traffic.h"

namespace mr::serving {

struct Model {
  std::string name;
  std::string version;  // empty: none
  std::string path;     // where it was read from
  LoadedModel loaded;
  std::string metadata;     // the answer of GET /v2/models/{name}
  std::string answer_head;  // header lines that every answer of this model carries
  metrics::Counter success;
  metrics::Counter failure;
  metrics::Histogram seconds;
  std::shared_ptr<ModelTraffic> traffic = std::make_shared<ModelTraffic>();
};

struct ModelSource {
  std::string name;
  std::string version;
  std::string path;
};

class Repository {
 public:
  explicit Repository(LoadOptions options = {}) : options_(std::move(options)) {}
  // Reads and adds a model. A name and version that is there already is refused.
  Result<> add(const ModelSource& source);
  // A tree of model-settings.json files (MLServer's), at any depth; or sub-folders with MLmodel.
  Result<> add_tree(const std::string& folder);

  // The model that answers a request; an empty version means the newest added. Errors: not_found with MLServer's text.
  Result<std::shared_ptr<const Model>> find(const std::string& name, const std::string& version) const;
  // The model that was loaded last and still is; null: none.
  [[nodiscard]] std::shared_ptr<const Model> last() const;
  Result<> load(const std::string& name);  // again, from its source; unknown names are not_found
  Result<> unload(const std::string& name);
  [[nodiscard]] std::vector<std::shared_ptr<const Model>> loaded() const;
  struct IndexEntry {
    std::string name;
    std::string version;
    bool ready;
  };
  [[nodiscard]] std::vector<IndexEntry> index() const;
  [[nodiscard]] std::size_t size() const;

 private:
  struct Slot {
    ModelSource source;
    std::shared_ptr<const Model> model;  // null while unloaded
    std::uint64_t order = 0;             // of its loading among all
  };
  using Table = std::map<std::string, std::vector<Slot>, std::less<>>;
  [[nodiscard]] std::shared_ptr<const Table> table() const { return table_.load(); }
  LoadOptions options_;
  std::atomic<std::shared_ptr<const Table>> table_{std::make_shared<const Table>()};
  std::mutex write_;
  std::uint64_t loaded_ = 0;  // under write_
};

}  // namespace mr::serving
