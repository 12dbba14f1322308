#include "kube/store.h"

#include "json/parse.h"
#include "log/log.h"
#include "metrics/metrics.h"
#include "time/clock.h"

namespace mr::kube {

namespace {

// Changes kept a table: so many, and no more text than that (in memory an object takes several times its text), but a
// few at least. Who is further behind lists anew, as with any API server.
constexpr std::size_t kHistory = 4096, kLeastHistory = 128, kHistoryBytes = 4U << 20;
constexpr std::size_t kQueue = 20000;  // writes waiting for the flusher
constexpr std::size_t kBatch = 512;    // writes in one transaction
constexpr const char* kSchema =
    "CREATE TABLE IF NOT EXISTS kube_objects(tbl TEXT NOT NULL, ns TEXT NOT NULL, name TEXT NOT NULL, rv INTEGER NOT "
    "NULL, doc TEXT NOT NULL, PRIMARY KEY(tbl, ns, name)) WITHOUT ROWID;"
    "CREATE TABLE IF NOT EXISTS kube_meta(name TEXT NOT NULL PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;";

struct Pending {
  std::string table;
  Key key;
  ChangeType type = ChangeType::added;
  std::uint64_t revision = 0;
  ObjectPtr object;
  ObjectPtr before;
  task::Loop* loop = nullptr;
  std::coroutine_handle<> waiter;
  Result<ObjectPtr>* result = nullptr;
};

struct Waiter {
  task::Loop* loop;
  std::coroutine_handle<> handle;
  std::int64_t deadline_ns;
};

struct Table {
  std::map<Key, ObjectPtr> committed;
  std::map<Key, ObjectPtr> ahead;  // newest uncommitted state; null: deleted
  std::deque<ChangePtr> history;
  std::size_t history_bytes = 0;
  std::uint64_t floor = 0;  // changes after this revision are in the history
  std::vector<Waiter> waiters;

  void remember(ChangePtr change) {
    history_bytes += change->json.size();
    history.push_back(std::move(change));
    while (history.size() > kHistory || (history_bytes > kHistoryBytes && history.size() > kLeastHistory)) {
      floor = history.front()->revision;
      history_bytes -= history.front()->json.size();
      history.pop_front();
    }
  }
};

void stamp(Object& o, std::uint64_t revision) { metadata(o)["resourceVersion"] = std::to_string(revision); }

}  // namespace

struct Store::Impl {
  sql::Database& db;
  mutable std::mutex mutex;
  std::condition_variable wake;
  std::map<std::string, Table, std::less<>> tables;
  std::vector<Pending> queue;
  std::uint64_t assigned = 0;   // last revision given out
  std::uint64_t committed = 0;  // last revision on disk
  std::uint64_t start_revision = 0;
  bool stopping = false;
  bool closed = false;    // watches have ended; writes go on
  std::mutex hook_mutex;  // held while the hook runs; never taken under `mutex`
  std::function<void(const std::string&, const ChangePtr&)> committed_hook;
  std::unordered_map<std::string, std::set<std::pair<std::string, Key>>> owners;  // owner's uid -> dependents
  std::unordered_map<std::string, int> uids;
  bool broken = false;  // a commit failed: memory and disk would part; only reads from here on
  std::thread flusher;
  metrics::Gauge objects = metrics::gauge("millrace_kube_objects", "Objects in the store of the Kubernetes API.");

  explicit Impl(sql::Database& d) : db(d) {}

  Table& table(std::string_view name) {
    auto at = tables.find(name);
    if (at == tables.end()) {
      at = tables.emplace(std::string(name), Table{}).first;
      at->second.floor = start_revision;
    }
    return at->second;
  }
  const Table* find(std::string_view name) const {
    auto at = tables.find(name);
    return at == tables.end() ? nullptr : &at->second;
  }
  ObjectPtr latest(std::string_view name, const Key& key) const {
    const auto* t = find(name);
    if (t == nullptr) return nullptr;
    if (auto a = t->ahead.find(key); a != t->ahead.end()) return a->second;
    auto c = t->committed.find(key);
    return c == t->committed.end() ? nullptr : c->second;
  }

  // Keeps the indexes of uids true of the committed state.
  void index(const std::string& table_name, const Key& key, const Object& o, bool add) {
    std::string uid(uid_of(o));
    if (!uid.empty()) {
      if (add)
        ++uids[uid];
      else if (auto u = uids.find(uid); u != uids.end() && --u->second == 0)
        uids.erase(u);
    }
    for (const auto& ref : array_at(o, "metadata.ownerReferences")) {
      const auto* u = at(ref, "uid");
      if (u == nullptr || !u->is_string()) continue;
      std::string owner(u->get_string());
      if (add) {
        owners[owner].insert({table_name, key});
      } else if (auto i = owners.find(owner); i != owners.end()) {
        i->second.erase({table_name, key});
        if (i->second.empty()) owners.erase(i);
      }
    }
  }

  void run() {
    pthread_setname_np(pthread_self(), "mr-kube-store");
    std::unique_lock lock(mutex);
    for (;;) {
      wake.wait_for(lock, std::chrono::milliseconds(250), [this] { return stopping || !queue.empty(); });
      fire_late();
      if (queue.empty()) {
        if (stopping) return;
        continue;
      }
      std::vector<Pending> batch;
      if (queue.size() <= kBatch) {
        batch.swap(queue);
      } else {
        batch.assign(std::make_move_iterator(queue.begin()), std::make_move_iterator(queue.begin() + kBatch));
        queue.erase(queue.begin(), queue.begin() + kBatch);
      }
      lock.unlock();
      std::vector<std::shared_ptr<Change>> changes;
      changes.reserve(batch.size());
      for (auto& p : batch) {
        auto c = std::make_shared<Change>();
        c->type = p.type;
        c->revision = p.revision;
        c->object = p.object;
        c->before = p.before;
        c->json = json::serialize(*p.object);
        changes.push_back(std::move(c));
      }
      auto written = write(batch, changes);
      if (!written)
        log::error("the store of the Kubernetes API cannot write; it is read-only until a restart",
                   {{"error", written.error().message}, {"detail", written.error().detail}});
      lock.lock();
      publish(batch, changes, written);
      if (!written) continue;
      lock.unlock();
      {
        std::lock_guard hook(hook_mutex);
        if (committed_hook)
          for (std::size_t i = 0; i < batch.size(); ++i) committed_hook(batch[i].table, changes[i]);
      }
      lock.lock();
    }
  }

  Result<void> write(const std::vector<Pending>& batch, const std::vector<std::shared_ptr<Change>>& changes) {
    return db.write_blocking([&](sql::Connection& c) -> Result<void> {
      for (std::size_t i = 0; i < batch.size(); ++i) {
        const auto& p = batch[i];
        if (p.type == ChangeType::deleted) {
          MR_CHECK(c.exec("DELETE FROM kube_objects WHERE tbl=? AND ns=? AND name=?", p.table, p.key.ns, p.key.name));
        } else {
          MR_CHECK(
              c.exec("INSERT INTO kube_objects(tbl,ns,name,rv,doc) VALUES(?,?,?,?,?) ON CONFLICT(tbl,ns,name) DO "
                     "UPDATE SET rv=excluded.rv, doc=excluded.doc",
                     p.table, p.key.ns, p.key.name, p.revision, changes[i]->json));
        }
      }
      MR_CHECK(
          c.exec("INSERT INTO kube_meta(name,value) VALUES('revision',?) ON CONFLICT(name) DO UPDATE SET "
                 "value=excluded.value",
                 batch.back().revision));
      return {};
    });
  }

  // Under the mutex: makes a batch visible, answers its writers, wakes its watchers.
  void publish(std::vector<Pending>& batch, const std::vector<std::shared_ptr<Change>>& changes,
               const Result<void>& written) {
    std::set<Table*> touched;
    if (!written) {
      broken = true;
      for (auto& p : queue) batch.push_back(std::move(p));
      queue.clear();
      for (auto& [name, t] : tables) t.ahead.clear();
    }
    for (std::size_t i = 0; i < batch.size(); ++i) {
      auto& p = batch[i];
      if (written) {
        auto& t = table(p.table);
        if (p.before) index(p.table, p.key, *p.before, false);
        if (p.type != ChangeType::deleted) index(p.table, p.key, *p.object, true);
        if (p.type == ChangeType::deleted)
          t.committed.erase(p.key);
        else
          t.committed[p.key] = p.object;
        if (auto a = t.ahead.find(p.key); a != t.ahead.end()) {
          // The overlay goes once nothing newer is pending for the key.
          bool same = p.type == ChangeType::deleted ? a->second == nullptr : a->second == p.object;
          if (same) t.ahead.erase(a);
        }
        t.remember(changes[i]);
        touched.insert(&t);
        committed = p.revision;
        *p.result = p.object;
      } else {
        *p.result = std::unexpected(written.error());
      }
      p.loop->post([h = p.waiter] { h.resume(); });
    }
    std::size_t total = 0;
    for (auto& [name, t] : tables) total += t.committed.size();
    objects.set(static_cast<double>(total));
    for (auto* t : touched) {
      for (auto& w : t->waiters) w.loop->post([h = w.handle] { h.resume(); });
      t->waiters.clear();
    }
  }
  void fire_late() {
    auto now = time::mono_ns();
    for (auto& [name, t] : tables)
      std::erase_if(t.waiters, [&](const Waiter& w) {
        if (!stopping && !closed && w.deadline_ns > now) return false;
        w.loop->post([h = w.handle] { h.resume(); });
        return true;
      });
  }
};

Store::Store(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Store::~Store() { stop(); }

Result<std::unique_ptr<Store>> Store::open(sql::Database& db) {
  auto impl = std::make_unique<Impl>(db);
  MR_CHECK(db.write_blocking([](sql::Connection& c) { return c.script(kSchema); }));
  Result<void> bad;
  MR_CHECK(db.read([&](sql::Connection& c) -> Result<void> {
    MR_CHECK(c.query("SELECT value FROM kube_meta WHERE name='revision'", "i", {}, [&](const sql::Row& r) {
      impl->assigned = impl->committed = impl->start_revision = static_cast<std::uint64_t>(r.i64(0));
    }));
    return c.query("SELECT tbl, ns, name, doc FROM kube_objects", "ssss", {}, [&](const sql::Row& r) {
      auto doc = json::parse(r.text(3), 256);
      if (!doc || !doc->is_object()) {
        bad = fail(Code::data_loss, fmt::format("the object {} {}/{} in the store is no JSON document", r.text(0),
                                                r.text(1), r.text(2)));
        return;
      }
      auto made = std::make_shared<const Object>(std::move(doc->as_object()));
      Key key{r.text(1), r.text(2)};
      impl->index(r.text(0), key, *made, true);
      impl->table(r.text(0)).committed[key] = std::move(made);
    });
  }));
  if (!bad) return std::unexpected(bad.error());
  impl->flusher = std::thread([i = impl.get()] { i->run(); });
  return std::unique_ptr<Store>(new Store(std::move(impl)));
}

void Store::stop() {
  {
    std::lock_guard lock(impl_->mutex);
    impl_->stopping = true;
  }
  impl_->wake.notify_all();
  if (impl_->flusher.joinable()) impl_->flusher.join();
}

std::uint64_t Store::revision() const {
  std::lock_guard lock(impl_->mutex);
  return impl_->committed;
}
ObjectPtr Store::get(std::string_view table, const Key& key) const {
  std::lock_guard lock(impl_->mutex);
  const auto* t = impl_->find(table);
  if (t == nullptr) return nullptr;
  auto at = t->committed.find(key);
  return at == t->committed.end() ? nullptr : at->second;
}
ObjectPtr Store::latest(std::string_view table, const Key& key) const {
  std::lock_guard lock(impl_->mutex);
  return impl_->latest(table, key);
}
std::size_t Store::count(std::string_view table) const {
  std::lock_guard lock(impl_->mutex);
  const auto* t = impl_->find(table);
  return t == nullptr ? 0 : t->committed.size();
}

void Store::on_commit(std::function<void(const std::string&, const ChangePtr&)> fn) {
  std::lock_guard lock(impl_->hook_mutex);
  impl_->committed_hook = std::move(fn);
}
std::vector<std::pair<std::string, Key>> Store::owned_by(std::string_view uid) const {
  std::lock_guard lock(impl_->mutex);
  auto at = impl_->owners.find(std::string(uid));
  if (at == impl_->owners.end()) return {};
  return {at->second.begin(), at->second.end()};
}
bool Store::has_uid(std::string_view uid) const {
  std::lock_guard lock(impl_->mutex);
  return impl_->uids.contains(std::string(uid));
}
std::vector<std::string> Store::tables() const {
  std::lock_guard lock(impl_->mutex);
  std::vector<std::string> out;
  for (const auto& [name, t] : impl_->tables)
    if (!t.committed.empty()) out.push_back(name);
  return out;
}
void Store::wake_watches() {
  std::lock_guard lock(impl_->mutex);
  for (auto& [name, t] : impl_->tables) {
    for (auto& w : t.waiters) w.loop->post([h = w.handle] { h.resume(); });
    t.waiters.clear();
  }
}
void Store::close_watches() {
  {
    std::lock_guard lock(impl_->mutex);
    impl_->closed = true;
    impl_->fire_late();
  }
}

Store::Page Store::list(std::string_view table, std::string_view ns, std::uint64_t at) const {
  std::lock_guard lock(impl_->mutex);
  Page page;
  page.revision = at == 0 ? impl_->committed : at;
  const auto* t = impl_->find(table);
  if (t == nullptr) return page;
  auto begin = ns.empty() ? t->committed.begin() : t->committed.lower_bound(Key{std::string(ns), ""});
  auto in_range = [&](const Key& k) { return ns.empty() || k.ns == ns; };
  if (at == 0 || at >= impl_->committed) {
    if (ns.empty()) page.items.reserve(t->committed.size());
    for (auto i = begin; i != t->committed.end() && in_range(i->first); ++i) page.items.push_back(i->second);
    return page;
  }
  if (at < t->floor) {
    page.expired = true;
    return page;
  }
  // The state at `at`: today's, with every later change undone, newest first.
  std::map<Key, ObjectPtr> then;
  for (auto i = begin; i != t->committed.end() && in_range(i->first); ++i) then.insert(*i);
  for (auto c = t->history.rbegin(); c != t->history.rend() && (*c)->revision > at; ++c) {
    auto key = key_of(*(*c)->object);
    if (!in_range(key)) continue;
    if ((*c)->before)
      then[key] = (*c)->before;
    else
      then.erase(key);
  }
  for (auto& [k, v] : then) page.items.push_back(std::move(v));
  return page;
}

Store::Changes Store::changes(std::string_view table, std::uint64_t after, std::size_t limit) const {
  std::lock_guard lock(impl_->mutex);
  Changes out;
  out.revision = impl_->committed;
  out.stopped = impl_->stopping || impl_->closed;
  const auto* t = impl_->find(table);
  if (after < (t == nullptr ? impl_->start_revision : t->floor)) {
    out.expired = true;
    return out;
  }
  if (t == nullptr) return out;
  auto first = std::ranges::upper_bound(t->history, after, {}, [](const ChangePtr& c) { return c->revision; });
  for (; first != t->history.end(); ++first) {
    if (out.items.size() == limit) {
      out.revision = out.items.back()->revision;
      break;
    }
    out.items.push_back(*first);
  }
  return out;
}

bool Store::enlist(const std::string& table, std::uint64_t after, long ms, std::coroutine_handle<> h) {
  std::lock_guard lock(impl_->mutex);
  auto& t = impl_->table(table);
  if (impl_->stopping || impl_->closed || after < t.floor || (!t.history.empty() && t.history.back()->revision > after))
    return false;
  t.waiters.push_back({task::Loop::current(), h, time::mono_ns() + ms * 1'000'000});
  return true;
}

// Queues one write under the mutex, so that revisions are in the order of the queue.
struct Store::PendingAwaiter {
  Impl& impl;
  std::string table;
  Key key;
  Object object;
  std::uint64_t expected;
  bool removal;
  Result<ObjectPtr> result{};

  bool await_ready() const noexcept { return false; }
  bool await_suspend(std::coroutine_handle<> h) {
    std::unique_lock lock(impl.mutex);
    auto refuse = [&](Code code, std::string message, std::string reason) {
      result = fail(code, std::move(message), std::move(reason));
      return false;
    };
    if (impl.stopping) return refuse(Code::unavailable, "the server is shutting down", "ServiceUnavailable");
    if (impl.broken)
      return refuse(Code::unavailable, "the store cannot write; see the server's log", "ServiceUnavailable");
    if (impl.queue.size() >= kQueue) return refuse(Code::unavailable, "too many writes are waiting", "TooManyRequests");
    auto before = impl.latest(table, key);
    if (expected == kMustNotExist && !removal) {
      if (before) return refuse(Code::already_exists, "the object exists", "AlreadyExists");
    } else {
      if (!before) return refuse(Code::not_found, "the object does not exist", "NotFound");
      if (resource_version_of(*before) != expected)
        return refuse(Code::conflict, "the object has been modified", "Conflict");
    }
    auto revision = ++impl.assigned;
    stamp(object, revision);
    auto made = std::make_shared<const Object>(std::move(object));
    auto& t = impl.table(table);
    t.ahead[key] = removal ? nullptr : made;
    auto type = removal ? ChangeType::deleted : before ? ChangeType::modified : ChangeType::added;
    bool first = impl.queue.empty();
    impl.queue.push_back({std::move(table), std::move(key), type, revision, std::move(made), std::move(before),
                          task::Loop::current(), h, &result});
    lock.unlock();
    if (first) impl.wake.notify_one();
    return true;
  }
  Result<ObjectPtr> await_resume() { return std::move(result); }
};

task::Task<Result<ObjectPtr>> Store::put(std::string table, Key key, Object next, std::uint64_t expected) {
  PendingAwaiter a{*impl_, std::move(table), std::move(key), std::move(next), expected, false};
  co_return co_await a;
}
task::Task<Result<ObjectPtr>> Store::remove(std::string table, Key key, Object last, std::uint64_t expected) {
  PendingAwaiter a{*impl_, std::move(table), std::move(key), std::move(last), expected, true};
  co_return co_await a;
}

Result<void> Store::seed_blocking(std::vector<std::pair<std::string, Object>> objects) {
  std::vector<Pending> batch;
  std::vector<std::shared_ptr<Change>> changes;
  {
    std::lock_guard lock(impl_->mutex);
    for (auto& [table, object] : objects) {
      auto key = key_of(object);
      if (impl_->latest(table, key)) continue;
      Pending p;
      p.table = table;
      p.key = key;
      p.revision = ++impl_->assigned;
      stamp(object, p.revision);
      p.object = std::make_shared<const Object>(std::move(object));
      auto c = std::make_shared<Change>();
      c->revision = p.revision;
      c->object = p.object;
      c->json = json::serialize(*p.object);
      batch.push_back(std::move(p));
      changes.push_back(std::move(c));
    }
  }
  if (batch.empty()) return {};
  MR_CHECK(impl_->write(batch, changes));
  std::lock_guard lock(impl_->mutex);
  for (std::size_t i = 0; i < batch.size(); ++i) {
    auto& t = impl_->table(batch[i].table);
    t.committed[batch[i].key] = batch[i].object;
    impl_->index(batch[i].table, batch[i].key, *batch[i].object, true);
    t.remember(changes[i]);
    impl_->committed = batch[i].revision;
  }
  return {};
}

}  // namespace mr::kube
