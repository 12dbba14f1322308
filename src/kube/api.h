// The rules of the Kubernetes API, without its wire: what create, get, list, update, patch and delete do to objects.
// Thread safe; coroutines resume on the caller's loop. Ownership: uses the Store and Kinds, which must outlive it.
#pragma once
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "kube/auth.h"
#include "kube/client.h"
#include "kube/errors.h"
#include "kube/kinds.h"
#include "kube/store.h"

namespace mr::kube {

template <class T>
using Answer = std::expected<T, ApiError>;

// A collection or an object of it, as a request names it.
struct Target {
  KindPtr kind;
  const KindVersion* version = nullptr;
  std::string ns, name, subresource;
};

enum class FieldValidation : std::uint8_t { ignore, warn, strict };
struct WriteOptions {
  User user;
  std::string manager = "unknown";
  bool dry_run = false;
  FieldValidation validation = FieldValidation::warn;
  std::vector<std::string> faults;  // what decoding found already: duplicate fields
  bool force = false;               // apply
};
struct Written {
  ObjectPtr object;
  bool created = false;
  std::vector<std::string> warnings;
};
struct DeleteOptions {
  std::optional<std::int64_t> grace_seconds;
  std::string uid, resource_version;  // preconditions
  std::optional<Propagation> propagation;
  bool dry_run = false;
};
struct Removed {
  ObjectPtr object;   // as it is now (deletion under way), or as it was
  bool gone = false;  // it is not there any more
};
struct ListQuery {
  std::string label_selector, field_selector, continue_token;
  std::size_t limit = 0;
  std::uint64_t at_least = 0;  // resourceVersion of the request
  bool exact = false;          // the state at that revision, not today's
};
struct Listed {
  std::vector<ObjectPtr> items;
  std::uint64_t revision = 0;
  std::string continue_token;
  std::optional<std::size_t> remaining;
};

// What the rooms around it add to the rules.
struct Hooks {
  // An address for a Service, given those in use; empty: none left.
  std::function<std::string(const std::set<std::string>& used, const Key& service)> allocate_cluster_ip;
  // Whether an address that a client chose may be a Service's; unset: any. And the range, for the refusal.
  std::function<bool(std::string_view)> in_cluster_range;
  std::string cluster_range;
};

class Api {
 public:
  Api(Store& store, Kinds& kinds, Hooks hooks);
  ~Api();
  task::Task<Answer<Written>> create(Target t, Object object, WriteOptions o);
  task::Task<Answer<Written>> update(Target t, Object object, WriteOptions o);
  // `body`: an array of operations (json), an object (merge, strategic, apply). Apply may create.
  task::Task<Answer<Written>> patch(Target t, PatchType type, Value body, WriteOptions o);
  task::Task<Answer<Removed>> remove(Target t, DeleteOptions o);
  // The objects that were told to go.
  task::Task<Answer<std::vector<ObjectPtr>>> remove_all(Target t, ListQuery q, DeleteOptions o);
  [[nodiscard]] Answer<ObjectPtr> get(const Target& t) const;
  [[nodiscard]] Answer<Listed> list(const Target& t, const ListQuery& q) const;

  // The target of a Gvr, or the 404 that the real server gives for an unknown resource.
  [[nodiscard]] Answer<Target> resolve(const Gvr& r, std::string ns, std::string name = {}) const;
  [[nodiscard]] Store& store() const { return store_; }
  [[nodiscard]] Kinds& kinds() const { return kinds_; }
  // Keeps an address or port from being given out twice before its object is in the store. False: it is taken. A
  // reservation ends by itself.
  bool reserve(const std::string& what) const;

 private:
  Store& store_;
  Kinds& kinds_;
  Hooks hooks_;
  mutable std::mutex reserved_mutex_;
  mutable std::map<std::string, std::int64_t> reserved_;  // until when, monotonic nanoseconds
  struct Steps;
};

// The same object under another version of its kind's API.
ObjectPtr as_version(ObjectPtr o, const Kind& kind, const KindVersion& version);
// The Scale document of an object by its kind's paths.
Object scale_of(const Object& o, const KindVersion& version);

// Selectors of a list or watch, parsed; 400 with the real server's text.
struct Selection {
  struct Impl;
  std::shared_ptr<const Impl> impl;  // null: everything
  [[nodiscard]] bool matches(const Object& o) const;
};
Answer<Selection> parse_selection(const Kind& kind, std::string_view labels, std::string_view fields);

// A watch over the store, already filtered: leaving objects are deletions, entering ones additions.
class StoreWatch {
 public:
  StoreWatch(Store& store, KindPtr kind, const KindVersion* version, std::string ns, Selection selection,
             std::uint64_t after);
  struct Event {
    EventType type = EventType::added;
    ObjectPtr object;  // of a bookmark: null
    std::uint64_t revision = 0;
    const std::string* json = nullptr;  // the object's text when it needs no change; lives as long as `keep`
    ChangePtr keep;
  };
  struct Batch {
    std::vector<Event> events;
    bool expired = false, stopped = false;
  };
  // Events that are there, or after a wait of at most `ms` those that came; none: nothing happened.
  task::Task<Batch> next(long ms);
  [[nodiscard]] std::uint64_t position() const { return after_; }

 private:
  Store& store_;
  KindPtr kind_;
  const KindVersion* version_;
  std::string ns_;
  Selection selection_;
  std::uint64_t after_;
};

// The embedded Client: the rules above, called in this process as `user`.
class EmbeddedClient : public Client {
 public:
  EmbeddedClient(Api& api, User user, std::string manager);
  task::Task<Result<ObjectPtr>> get(Gvr r, Key key) override;
  task::Task<Result<List>> list(Gvr r, std::string ns, ListOptions options) override;
  task::Task<Result<ObjectPtr>> create(Gvr r, Object object) override;
  task::Task<Result<ObjectPtr>> update(Gvr r, Object object) override;
  task::Task<Result<ObjectPtr>> update_status(Gvr r, Object object) override;
  task::Task<Result<ObjectPtr>> patch(Gvr r, Key key, PatchType type, Value body, std::string subresource,
                                      std::string manager) override;
  task::Task<Result<void>> remove(Gvr r, Key key, Propagation p, std::string uid) override;
  task::Task<Result<void>> remove_now(Gvr r, Key key, std::string uid) override;
  task::Task<Result<std::unique_ptr<Watch>>> watch(Gvr r, std::string ns, std::uint64_t revision,
                                                   ListOptions options) override;
  void close_watches() override;

 private:
  Api& api_;
  User user_;
  std::string manager_;
  std::shared_ptr<std::atomic<bool>> closed_;
};

}  // namespace mr::kube
