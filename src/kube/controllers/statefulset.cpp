#include "crypto/random.h"
#include "kube/controllers/controllers.h"
#include "kube/controllers/pods.h"
#include "text/text.h"

namespace mr::kube {

namespace {

constexpr std::string_view kStatefulSetComponent = "statefulset-controller";
constexpr const char* kRevisionLabel = "controller-revision-hash";
const Gvr kRevisions{"apps", "v1", "controllerrevisions"};

std::optional<std::int64_t> ordinal_of(const Object& set, const Object& pod) {
  auto name = name_of(pod);
  auto prefix = fmt::format("{}-", name_of(set));
  if (!name.starts_with(prefix)) return std::nullopt;
  return text::to_i64(name.substr(prefix.size()));
}

struct StatefulSet {
  Manager& m;
  ObjectPtr s;
  std::string update_revision;
  std::int64_t first = 0, wanted = 0;

  [[nodiscard]] Object new_pod(std::int64_t ordinal, const Object& tmpl, const std::string& revision) const {
    auto name = fmt::format("{}-{}", name_of(*s), ordinal);
    Object pod = pod_of_template(*s, tmpl, name);
    auto& labels = ensure(pod, "metadata.labels");
    labels["statefulset.kubernetes.io/pod-name"] = name;
    labels["apps.kubernetes.io/pod-index"] = std::to_string(ordinal);
    labels[kRevisionLabel] = revision;
    auto& spec = ensure(pod, "spec");
    spec["hostname"] = name;
    if (auto service = text_at(*s, "spec.serviceName"); !service.empty()) spec["subdomain"] = service;
    // Each claim template becomes a volume of its own claim.
    Array volumes;
    std::set<std::string> claimed;
    for (const auto& c : array_at(*s, "spec.volumeClaimTemplates")) {
      if (!c.is_object()) continue;
      std::string claim(name_of(c.get_object()));
      claimed.insert(claim);
      volumes.push_back(
          Object{{"name", claim}, {"persistentVolumeClaim", Object{{"claimName", fmt::format("{}-{}", claim, name)}}}});
    }
    for (const auto& v : array_at(spec, "volumes"))
      if (v.is_object() && !claimed.contains(std::string(text_at(v.get_object(), "name")))) volumes.push_back(v);
    if (!volumes.empty()) spec["volumes"] = std::move(volumes);
    return pod;
  }
  task::Task<Result<void>> ensure_claims(std::int64_t ordinal) {
    for (const auto& c : array_at(*s, "spec.volumeClaimTemplates")) {
      if (!c.is_object()) continue;
      Object claim = c.get_object();
      claim["apiVersion"] = "v1";
      claim["kind"] = "PersistentVolumeClaim";
      auto name = fmt::format("{}-{}-{}", name_of(claim), name_of(*s), ordinal);
      auto& meta = metadata(claim);
      meta["name"] = name;
      meta["namespace"] = namespace_of(*s);
      for (const auto& [k, v] : object_at(*s, "spec.selector.matchLabels")) ensure(claim, "metadata.labels")[k] = v;
      claim.erase("status");
      if (m.informer(gvr::pvcs).get({std::string(namespace_of(*s)), name})) continue;
      auto r = co_await m.client().create(gvr::pvcs, std::move(claim));
      if (!r && r.error().reason != "AlreadyExists") co_return std::unexpected(r.error());
    }
    co_return Result<void>{};
  }
  // The revision object of today's template; its name is the revision's.
  task::Task<Result<void>> ensure_revision() {
    auto mine = m.informer(kRevisions).owned_by(uid_of(*s));
    Object data{{"spec", Object{{"template", object_at(*s, "spec.template")}}}};
    std::int64_t highest = 0;
    ObjectPtr found;
    for (const auto& r : mine) {
      highest = std::max(highest, int_at(*r, "revision"));
      if (const auto* d = r->if_contains("data"); d != nullptr && *d == Value(data)) found = r;
    }
    if (found) {
      update_revision = name_of(*found);
      if (int_at(*found, "revision") < highest) {
        Object next = *found;
        next["revision"] = highest + 1;
        auto r = co_await m.client().update(kRevisions, std::move(next));
        if (!r) co_return std::unexpected(r.error());
        co_await seen(m.informer(kRevisions), key_of(**r), resource_version_of(**r));
      }
      co_return Result<void>{};
    }
    Object rev = make_object("apps/v1", "ControllerRevision", namespace_of(*s),
                             fmt::format("{}-{}", name_of(*s), template_hash(object_at(*s, "spec.template"))));
    metadata(rev)["labels"] = object_at(*s, "spec.template.metadata.labels");
    metadata(rev)["ownerReferences"] = Array{owner_reference(*s)};
    rev["data"] = std::move(data);
    rev["revision"] = highest + 1;
    update_revision = name_of(rev);
    auto r = co_await m.client().create(kRevisions, std::move(rev));
    if (!r && r.error().reason != "AlreadyExists") co_return std::unexpected(r.error());
    if (r) co_await seen(m.informer(kRevisions), key_of(**r), resource_version_of(**r));
    // Old revisions beyond the limit go.
    std::ranges::sort(mine, {}, [](const ObjectPtr& o) { return int_at(*o, "revision"); });
    auto limit = static_cast<std::size_t>(std::max<std::int64_t>(0, int_at(*s, "spec.revisionHistoryLimit", 10)));
    auto in_use = std::string(text_at(*s, "status.currentRevision"));
    for (std::size_t i = 0; i + limit < mine.size(); ++i)
      if (name_of(*mine[i]) != in_use) (void)co_await m.client().remove(kRevisions, key_of(*mine[i]));
    co_return Result<void>{};
  }
  std::map<std::int64_t, ObjectPtr> pods() const {
    std::map<std::int64_t, ObjectPtr> out;
    for (const auto& p : m.informer(gvr::pods).owned_by(uid_of(*s)))
      if (auto n = ordinal_of(*s, *p)) out[*n] = p;
    return out;
  }
  // One pass: at most one step in ordered mode. True: something is under way.
  task::Task<Result<void>> converge() {
    bool parallel = text_at(*s, "spec.podManagementPolicy") == "Parallel";
    auto min_ready = int_at(*s, "spec.minReadySeconds");
    auto current_revision = std::string(text_at(*s, "status.currentRevision", update_revision));
    auto partition = int_at(*s, "spec.updateStrategy.rollingUpdate.partition");
    bool rolling = text_at(*s, "spec.updateStrategy.type", "RollingUpdate") == "RollingUpdate";
    auto have = pods();
    auto old_template = [&]() -> Object {
      for (const auto& r : m.informer(kRevisions).owned_by(uid_of(*s)))
        if (name_of(*r) == current_revision) return object_at(*r, "data.spec.template");
      return object_at(*s, "spec.template");
    };
    for (auto n = first; n < first + wanted; ++n) {
      auto at = have.find(n);
      if (at != have.end()) {
        auto phase = text_at(*at->second, "status.phase");
        if ((phase == "Failed" || phase == "Succeeded") && !deleting(*at->second)) {
          MR_CO_CHECK(co_await delete_pod(m, *s, at->second, kStatefulSetComponent));
          co_return Result<void>{};
        }
        if (!parallel && (deleting(*at->second) || !pod_available(*at->second, min_ready))) co_return Result<void>{};
        continue;
      }
      MR_CO_CHECK(co_await ensure_claims(n));
      bool to_new = !rolling || n >= partition || current_revision == update_revision;
      auto pod = to_new ? new_pod(n, object_at(*s, "spec.template"), update_revision)
                        : new_pod(n, old_template(), current_revision);
      MR_CO_CHECK(co_await create_pod(m, *s, std::move(pod), kStatefulSetComponent));
      if (!parallel) co_return Result<void>{};
    }
    // What is too much goes from the top.
    for (auto i = have.rbegin(); i != have.rend(); ++i) {
      if (i->first >= first && i->first < first + wanted) continue;
      if (!deleting(*i->second)) MR_CO_CHECK(co_await delete_pod(m, *s, i->second, kStatefulSetComponent));
      if (!parallel) co_return Result<void>{};
    }
    if (!rolling) co_return Result<void>{};
    // The update goes from the highest ordinal down, one at a time, each waiting for the one before.
    for (auto i = have.rbegin(); i != have.rend(); ++i) {
      if (i->first < first + partition || i->first >= first + wanted) continue;
      if (label(*i->second, kRevisionLabel) != update_revision) {
        if (!deleting(*i->second)) MR_CO_CHECK(co_await delete_pod(m, *s, i->second, kStatefulSetComponent));
        co_return Result<void>{};
      }
      if (!pod_available(*i->second, min_ready)) co_return Result<void>{};
    }
    co_return Result<void>{};
  }
  task::Task<Result<Again>> report() {
    auto min_ready = int_at(*s, "spec.minReadySeconds");
    std::int64_t total = 0, ready = 0, available = 0, updated = 0, current = 0;
    auto current_revision = std::string(text_at(*s, "status.currentRevision", update_revision));
    long again = -1;
    for (const auto& [n, p] : pods()) {
      if (deleting(*p)) continue;
      ++total;
      if (pod_ready(*p)) ++ready;
      if (pod_available(*p, min_ready)) ++available;
      if (auto ms = until_available_ms(*p, min_ready); ms > 0) again = again < 0 ? ms : std::min(again, ms);
      if (label(*p, kRevisionLabel) == update_revision) ++updated;
      if (label(*p, kRevisionLabel) == current_revision) ++current;
    }
    if (updated == wanted && ready == wanted && total == wanted) {
      current_revision = update_revision;
      current = updated;
    }
    Object status = object_at(*s, "status");
    status["observedGeneration"] = int_at(*s, "metadata.generation", 1);
    status["replicas"] = total;
    status["availableReplicas"] = available;
    for (auto [name, n] :
         {std::pair{"readyReplicas", ready}, {"updatedReplicas", updated}, {"currentReplicas", current}}) {
      if (n > 0)
        status[name] = n;
      else
        status.erase(name);
    }
    status["currentRevision"] = current_revision;
    status["updateRevision"] = update_revision;
    if (!status.contains("collisionCount")) status["collisionCount"] = 0;
    MR_CO_CHECK(co_await write_status(m, gvr::statefulsets, *s, std::move(status)));
    co_return Again{again};
  }
};

task::Task<Result<Again>> reconcile_stateful_set(Manager& m, Key key) {
  auto s = m.informer(gvr::statefulsets).get(key);
  if (!s || deleting(*s)) co_return Again{};
  StatefulSet x{m, s, {}, int_at(*s, "spec.ordinals.start"), std::max<std::int64_t>(0, int_at(*s, "spec.replicas", 1))};
  MR_CO_CHECK(co_await x.ensure_revision());
  MR_CO_CHECK(co_await x.converge());
  co_return co_await x.report();
}

}  // namespace

void add_statefulset_controller(Manager& m) {
  auto& q = m.controller("statefulset", [&m](Key key) { return reconcile_stateful_set(m, std::move(key)); });
  m.informer(kRevisions);
  m.informer(gvr::pvcs);
  m.enqueue_changes(m.informer(gvr::statefulsets), q);
  m.enqueue_owner(m.informer(gvr::pods), "StatefulSet", q);
}

}  // namespace mr::kube
