// The model table: names to models, swapped whole when names are added, so that a request never waits for a lock.
// Models may wait for their first request before they are read, and those not used for longest go when memory is short.
// Models are read beside each other; of many requests for one that is being read, one reads and the others wait, no
// thread held. Thread safe. The destructor waits for readings under way.
#pragma once
#include <atomic>
#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
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
  std::uint64_t memory = 0;  // bytes that loaded models may take; 0: any
  Limits limits;             // of models that say nothing of their own
};

class Repository {
 public:
  explicit Repository(LoadOptions options = {}, RepositoryOptions own = {});
  ~Repository();
  Repository(const Repository&) = delete;
  Repository& operator=(const Repository&) = delete;
  // Reads (unless lazy) and adds a model. A name and version that is there already is refused.
  Result<> add(ModelSource source);
  // A tree of model-settings.json files (MLServer's), at any depth; or sub-folders with MLmodel. Several are read at
  // once.
  Result<> add_tree(const std::string& folder);

  using Found = Result<std::shared_ptr<const Model>>;
  // The model that answers a request; an empty version means the newest added. Errors: not_found with MLServer's text;
  // reason "waiting": it is read when get() asks for it.
  [[nodiscard]] Found find(std::string_view name, std::string_view version) const;
  // The same, after reading it where it waits for that. Errors besides: unavailable, with what is wrong with its files;
  // resource_exhausted: too many wait for it already; deadline_exceeded: it took longer than its requests may wait.
  // Awaited on a loop.
  task::Task<Found> get(std::string name, std::string version);
  // The name and version of the model that was added or loaded last and can answer; empty: none.
  [[nodiscard]] std::pair<std::string, std::string> last() const;
  // Again, from its source; unknown names are not_found. A model that is unloaded meanwhile stays so.
  Result<> load(const std::string& name);
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
  // What loaded models take by their engines' count, those that share one together.
  [[nodiscard]] std::uint64_t memory() const;

 private:
  struct Flight;  // one reading for requests, and those who wait for it
  struct Slot;    // one model, loaded or not
  using SlotPtr = std::shared_ptr<Slot>;
  using Table = std::map<std::string, std::vector<SlotPtr>, std::less<>>;

  [[nodiscard]] std::shared_ptr<const Table> table() const { return table_.load(); }
  Result<> add_all(std::vector<ModelSource> sources);
  Result<SlotPtr> make_slot(ModelSource source);
  Result<> place(Table& t, SlotPtr slot);  // under write_
  // The model of a slot, read unless it is there; `again`: read whatever is there.
  Found read_slot(const SlotPtr& slot, bool again);
  void fly(const SlotPtr& slot, const std::shared_ptr<Flight>& flight);

  // All under write_:
  void install(Slot& slot, std::shared_ptr<const Model> model);
  void drop(Slot& slot);
  void make_room(const Slot* keep);

  LoadOptions options_;
  RepositoryOptions own_;
  std::atomic<bool> closing_ = false;  // nothing more is read
  std::atomic<std::shared_ptr<const Table>> table_{std::make_shared<const Table>()};

  mutable std::mutex write_;
  std::condition_variable ended_;  // a reading has
  std::uint64_t loads_ = 0;
  std::vector<Slot*> loaded_slots_;
  struct Held {
    std::size_t models = 0;
    std::uint64_t bytes = 0;
  };
  std::map<const Engine*, Held> engines_;
  std::uint64_t bytes_ = 0;   // of all of them
  std::uint64_t coming_ = 0;  // what models that are being read will take
  std::size_t readings_ = 0;  // under way with a share of coming_
  std::size_t flights_ = 0;   // under way on the pool
};

}  // namespace mr::serving
