// The model table: names to models, swapped whole, so that a request sees one state and never waits. Models may wait
// for their first request before they are read, and those not used for longest go when memory is short. Thread safe.
#pragma once
#include <atomic>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "metrics/metrics.h"
#include "serving/load.h"
#include "serving/model_settings.h"
#include "serving/traffic.h"
#include "task/task.h"

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
  std::string output_name = "output-1";
  std::string content_type;  // how requests are read that do not say it; empty: by the signature
  std::optional<metrics::Histogram> predict_seconds;  // KServe's name of the engine's time
  bool bare = false;  // no MLflow model: one input is a tensor, several are columns, as KServe's servers have it
};

struct RepositoryOptions {
  bool lazy = false;         // models are read when they are first asked for
  std::uint64_t memory = 0;  // bytes that loaded models may take (an estimate by their files); 0: any
  Limits limits;             // of models that say nothing of their own
};

class Repository {
 public:
  explicit Repository(LoadOptions options = {}, RepositoryOptions own = {}) : options_(std::move(options)), own_(own) {}
  // Reads (unless lazy) and adds a model. A name and version that is there already is refused.
  Result<> add(ModelSource source);
  // A tree of model-settings.json files (MLServer's), at any depth; or sub-folders with MLmodel.
  Result<> add_tree(const std::string& folder);

  using Found = Result<std::shared_ptr<const Model>>;
  // The model that answers a request; an empty version means the newest added. Errors: not_found with MLServer's text;
  // reason "waiting": it is read when get() asks for it.
  [[nodiscard]] Found find(std::string_view name, std::string_view version) const;
  // The same, after reading it where it waits for that. Errors besides: unavailable, with what is wrong with its files.
  // Awaited on a loop.
  task::Task<Found> get(std::string name, std::string version);
  // The name and version of the model that was added or loaded last and can answer; empty: none.
  [[nodiscard]] std::pair<std::string, std::string> last() const;
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
  [[nodiscard]] const RepositoryOptions& options() const { return own_; }

 private:
  // What outlives the readings of one model.
  struct Use {
    explicit Use(Limits limits) : traffic(std::make_shared<ModelTraffic>(limits)) {}
    std::shared_ptr<ModelTraffic> traffic;
    std::atomic<std::int64_t> last_ns = 0;
    std::mutex reading;
  };
  struct Slot {
    ModelSource source;
    std::shared_ptr<const Model> model;  // null while unloaded
    bool waiting = false;                // unloaded, and read when it is asked for
    std::uint64_t order = 0;             // of its loading among all
    std::uint64_t bytes = 0;             // estimated, while loaded
    std::shared_ptr<Use> use;
  };
  using Table = std::map<std::string, std::vector<Slot>, std::less<>>;
  [[nodiscard]] std::shared_ptr<const Table> table() const { return table_.load(); }
  Result<Slot> make_slot(ModelSource source) const;
  Result<> place(Table& t, Slot slot);  // under write_
  Found read_waiting(const std::string& name, const std::string& version);
  // Puts what was read into the table; others give way to it.
  void put(const std::string& name, const std::string& version, std::shared_ptr<const Model> model);
  void make_room(Table& t, const Slot& keep) const;

  LoadOptions options_;
  RepositoryOptions own_;
  std::atomic<std::shared_ptr<const Table>> table_{std::make_shared<const Table>()};
  std::mutex write_;
  std::uint64_t loaded_ = 0;  // under write_
};

}  // namespace mr::serving
