#include "kube/controllers/controllers.h"
#include "kube/controllers/pods.h"
#include "text/text.h"

namespace mr::kube {

namespace {

constexpr const char* kForeground = "foregroundDeletion";
constexpr const char* kOrphan = "orphan";

bool has_finalizer(const Object& o, std::string_view name) {
  return std::ranges::any_of(array_at(o, "metadata.finalizers"),
                             [&](const Value& v) { return v.is_string() && v.get_string() == name; });
}
void drop_finalizer(Object& o, std::string_view name) {
  auto* list = metadata(o).if_contains("finalizers");
  if (list == nullptr || !list->is_array()) return;
  auto& a = list->get_array();
  a.erase(std::remove_if(a.begin(), a.end(), [&](const Value& v) { return v.is_string() && v.get_string() == name; }),
          a.end());
  if (a.empty()) metadata(o).erase("finalizers");
}

// Keys of its queue are (table, "namespace/name").
struct Collector {
  Manager& m;
  Api& api;
  Queue* queue = nullptr;

  [[nodiscard]] std::optional<Target> target(const std::string& table, const Key& key) const {
    auto dot = table.find('.');
    auto plural = table.substr(0, dot);
    auto group = dot == std::string::npos ? std::string() : table.substr(dot + 1);
    for (const auto& k : api.kinds().all())
      if (k->plural == plural && k->group == group) return Target{k, &k->storage(), key.ns, key.name, {}};
    return std::nullopt;
  }
  static Key queue_key(const std::string& table, const Key& key) { return {table, key.ns + "/" + key.name}; }

  task::Task<Result<Again>> reconcile(Key q) {
    auto slash = q.name.find('/');
    Key key{q.name.substr(0, slash), q.name.substr(slash + 1)};
    auto o = api.store().get(q.ns, key);
    auto t = target(q.ns, key);
    if (!o || !t) co_return Again{};
    if (deleting(*o) && has_finalizer(*o, kOrphan)) co_return co_await free_dependents(*t, *o);
    if (deleting(*o) && has_finalizer(*o, kForeground)) co_return co_await hold(*t, *o);
    const auto& refs = array_at(*o, "metadata.ownerReferences");
    if (refs.empty() || deleting(*o)) co_return Again{};
    Array kept;
    bool foreground = false;
    for (const auto& r : refs) {
      auto uid = text_at(r.get_object(), "uid");
      if (api.store().has_uid(uid)) kept.push_back(r);
    }
    if (!kept.empty()) {
      if (kept.size() == refs.size()) co_return Again{};
      Object next = *o;
      metadata(next)["ownerReferences"] = std::move(kept);
      WriteOptions w{.user = system_user(), .manager = "garbage-collector"};
      auto r = co_await api.update(*t, std::move(next), std::move(w));
      if (!r && r.error().reason != "NotFound") co_return std::unexpected(to_error(r.error()));
      co_return Again{};
    }
    (void)foreground;
    DeleteOptions options;
    options.propagation = Propagation::background;
    options.uid = uid_of(*o);
    auto r = co_await api.remove(*t, std::move(options));
    if (!r && r.error().reason != "NotFound" && r.error().reason != "Conflict")
      co_return std::unexpected(to_error(r.error()));
    co_return Again{};
  }
  // Foreground: the dependents go first.
  task::Task<Result<Again>> hold(Target t, const Object& owner) {
    auto dependents = api.store().owned_by(uid_of(owner));
    bool waiting = false;
    for (const auto& [table, key] : dependents) {
      auto o = api.store().get(table, key);
      auto dt = target(table, key);
      if (!o || !dt) continue;
      bool blocks = false;
      for (const auto& r : array_at(*o, "metadata.ownerReferences"))
        if (text_at(r.get_object(), "uid") == uid_of(owner)) blocks = bool_at(r.get_object(), "blockOwnerDeletion");
      waiting = waiting || blocks;
      if (deleting(*o)) continue;
      DeleteOptions options;
      options.propagation = Propagation::foreground;
      options.uid = uid_of(*o);
      auto r = co_await api.remove(*dt, std::move(options));
      if (!r && r.error().reason != "NotFound" && r.error().reason != "Conflict")
        co_return std::unexpected(to_error(r.error()));
    }
    if (waiting) {
      bool left =
          std::ranges::any_of(dependents, [&](const auto& d) { return api.store().get(d.first, d.second) != nullptr; });
      if (left) co_return Again{50};
    }
    co_return co_await release(std::move(t), owner, kForeground);
  }
  task::Task<Result<Again>> free_dependents(Target t, const Object& owner) {
    for (const auto& [table, key] : api.store().owned_by(uid_of(owner))) {
      auto o = api.store().latest(table, key);
      auto dt = target(table, key);
      if (!o || !dt) continue;
      Object next = *o;
      Array kept;
      for (const auto& r : array_at(*o, "metadata.ownerReferences"))
        if (text_at(r.get_object(), "uid") != uid_of(owner)) kept.push_back(r);
      if (kept.empty())
        metadata(next).erase("ownerReferences");
      else
        metadata(next)["ownerReferences"] = std::move(kept);
      WriteOptions w{.user = system_user(), .manager = "garbage-collector"};
      auto r = co_await api.update(*dt, std::move(next), std::move(w));
      if (!r && r.error().reason != "NotFound") co_return std::unexpected(to_error(r.error()));
    }
    co_return co_await release(std::move(t), owner, kOrphan);
  }
  task::Task<Result<Again>> release(Target t, const Object& owner, std::string_view finalizer) {
    auto current = api.store().latest(t.kind->qualified(), {t.ns, t.name});
    if (!current || uid_of(*current) != uid_of(owner)) co_return Again{};
    Object next = *current;
    drop_finalizer(next, finalizer);
    WriteOptions w{.user = system_user(), .manager = "garbage-collector"};
    auto r = co_await api.update(t, std::move(next), std::move(w));
    if (!r && r.error().reason != "NotFound") co_return std::unexpected(to_error(r.error()));
    co_return Again{};
  }

  // On the loop: what a committed change may set free.
  void consider(const std::string& table, const Key& key, const std::string& uid, bool gone, bool has_owners,
                bool held) {
    if (gone) {
      for (const auto& [t, k] : api.store().owned_by(uid)) queue->add(queue_key(t, k));
    } else if (has_owners || held) {
      queue->add(queue_key(table, key));
    }
  }
};

}  // namespace

void add_garbage_collector(Manager& m, Api& api) {
  auto c = std::make_shared<Collector>(Collector{m, api});
  c->queue = &m.controller("garbage", [c](Key key) { return c->reconcile(std::move(key)); }, 8);
  auto& loop = m.loop();
  api.store().on_commit([c, &loop](const std::string& table, const ChangePtr& change) {
    const auto& o = *change->object;
    bool gone = change->type == ChangeType::deleted;
    bool held = !gone && deleting(o) && (has_finalizer(o, kForeground) || has_finalizer(o, kOrphan));
    // An object that names an owner is looked at once, when it comes: the owner may be gone already.
    bool owners = change->type == ChangeType::added && !array_at(o, "metadata.ownerReferences").empty();
    if (!gone && !held && !owners) return;
    loop.post([c, table, key = key_of(o), uid = std::string(uid_of(o)), gone, owners, held] {
      c->consider(table, key, uid, gone, owners, held);
    });
  });
  // What a crash left half done.
  loop.post([c, &api] {
    for (const auto& table : api.store().tables())
      for (const auto& o : api.store().list(table, "").items)
        if (!array_at(*o, "metadata.ownerReferences").empty() ||
            (deleting(*o) && (has_finalizer(*o, kForeground) || has_finalizer(*o, kOrphan))))
          c->queue->add(Collector::queue_key(table, key_of(*o)));
  });
}

}  // namespace mr::kube
