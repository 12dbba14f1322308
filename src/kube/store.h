// The store of objects: every collection in memory as immutable objects, every write on disk before it is answered,
// every change in a history that watches replay. One revision counts all writes; readers see committed writes only.
// Writes of many callers share one transaction (a flusher thread commits what has gathered). Thread safe.
// Ownership: the Store owns its flusher and uses the Database, which must outlive it.
#pragma once
#include <coroutine>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "kube/object.h"
#include "sql/database.h"
#include "task/task.h"

namespace mr::kube {

enum class ChangeType : std::uint8_t { added, modified, deleted };
struct Change {
  ChangeType type = ChangeType::added;
  std::uint64_t revision = 0;
  ObjectPtr object;  // of a deletion: the last state, with the deletion's revision
  ObjectPtr before;  // null when added
  std::string json;  // `object` as text, made once for all watchers
};
using ChangePtr = std::shared_ptr<const Change>;

class Store {
 public:
  // Reads everything there is. Errors: the file cannot be read, an object in it is no JSON.
  static Result<std::unique_ptr<Store>> open(sql::Database& db);
  ~Store();
  // Commits what is queued, wakes every waiter. Idempotent.
  void stop();

  // --- committed state ---
  [[nodiscard]] std::uint64_t revision() const;
  [[nodiscard]] ObjectPtr get(std::string_view table, const Key& key) const;
  struct Page {
    std::vector<ObjectPtr> items;
    std::uint64_t revision = 0;
    bool expired = false;  // the state at `at` is no longer known
  };
  // Ordered by namespace and name; `ns` empty: all. `at` 0: now; otherwise the state at that revision (bounded
  // history).
  [[nodiscard]] Page list(std::string_view table, std::string_view ns, std::uint64_t at = 0) const;
  [[nodiscard]] std::size_t count(std::string_view table) const;

  // --- writes ---
  // The newest state, committed or about to be: what a precondition is checked against.
  [[nodiscard]] ObjectPtr latest(std::string_view table, const Key& key) const;
  static constexpr std::uint64_t kMustNotExist = 0;
  // Replaces the object whose revision is `expected` (kMustNotExist: creates) and gives it a new resourceVersion. The
  // answer comes after the commit. Errors: conflict (another revision is there), not_found, already_exists,
  // unavailable.
  task::Task<Result<ObjectPtr>> put(std::string table, Key key, Object next, std::uint64_t expected);
  // The same for a deletion; `last` is what watchers see.
  task::Task<Result<ObjectPtr>> remove(std::string table, Key key, Object last, std::uint64_t expected);
  // For the start, before loops run: writes all in one commit; existing keys are left alone.
  Result<void> seed_blocking(std::vector<std::pair<std::string, Object>> objects);

  // Called on the flusher's thread after each commit, for each change; it must not call on_commit. Any thread may set
  // it; once this returns, the function that was set before is not running and never runs again.
  void on_commit(std::function<void(const std::string& table, const ChangePtr& change)> fn);
  // Objects whose ownerReferences name `uid`, as (table, key).
  [[nodiscard]] std::vector<std::pair<std::string, Key>> owned_by(std::string_view uid) const;
  // Whether an object with this uid is there.
  [[nodiscard]] bool has_uid(std::string_view uid) const;
  // Every table that has objects.
  [[nodiscard]] std::vector<std::string> tables() const;
  // Whoever waits looks again, with nothing new: for a client whose own watches have ended.
  void wake_watches();
  // Waits end at once from here on, and changes() says `stopped`.
  void close_watches();

  // --- watching ---
  struct Changes {
    std::vector<ChangePtr> items;
    std::uint64_t revision = 0;  // complete up to here
    bool expired = false;        // `after` is older than the history
    bool stopped = false;
  };
  // At most `limit` changes of a table after a revision.
  [[nodiscard]] Changes changes(std::string_view table, std::uint64_t after, std::size_t limit) const;
  // Resumes on the caller's loop when the table has a change after `after`, at the latest after `ms`.
  struct Wait {
    Store& store;
    std::string table;
    std::uint64_t after;
    long ms;
    bool await_ready() const noexcept { return false; }
    bool await_suspend(std::coroutine_handle<> h) { return store.enlist(table, after, ms, h); }
    void await_resume() const noexcept {}
  };
  Wait wait(std::string table, std::uint64_t after, long ms) { return {*this, std::move(table), after, ms}; }

 private:
  struct Impl;
  explicit Store(std::unique_ptr<Impl> impl);
  bool enlist(const std::string& table, std::uint64_t after, long ms, std::coroutine_handle<> h);
  struct PendingAwaiter;
  std::unique_ptr<Impl> impl_;
};

}  // namespace mr::kube
