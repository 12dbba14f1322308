#include "kube/controllers/controllers.h"
#include "kube/controllers/pods.h"
#include "text/text.h"
#include "time/clock.h"

namespace mr::kube {

namespace {

constexpr std::string_view kDeploymentComponent = "deployment-controller";
constexpr const char* kRevision = "deployment.kubernetes.io/revision";
constexpr const char* kDeploymentHash = "pod-template-hash";

std::int64_t revision_of(const Object& rs) { return text::to_i64(annotation(rs, kRevision)).value_or(0); }
std::int64_t replicas_of(const Object& o) { return int_at(o, "spec.replicas", 1); }

// A replica set's template without the hash label that the controller added.
Object bare_template(const Object& rs) {
  Object t = object_at(rs, "spec.template");
  ensure(t, "metadata.labels").erase(kDeploymentHash);
  return t;
}
Object template_of(const Object& d) {
  Object t = object_at(d, "spec.template");
  ensure(t, "metadata.labels");
  return t;
}
bool same_template(const Object& rs, const Object& d) {
  Object a = bare_template(rs);
  Object b = template_of(d);
  for (auto* t : {&a, &b})
    for (const char* f : {"creationTimestamp"}) ensure(*t, "metadata").erase(f);
  return a == b;
}

struct Deployment {
  Manager& m;
  ObjectPtr d;
  ObjectPtr fresh;             // the replica set of today's template
  std::vector<ObjectPtr> old;  // the others, oldest first

  Informer& sets() { return m.informer(gvr::replicasets); }

  void gather() {
    fresh = nullptr;
    old.clear();
    auto mine = sets().owned_by(uid_of(*d));
    std::ranges::sort(mine, [](const ObjectPtr& a, const ObjectPtr& b) {
      return std::pair(text_at(*a, "metadata.creationTimestamp"), revision_of(*a)) <
             std::pair(text_at(*b, "metadata.creationTimestamp"), revision_of(*b));
    });
    for (auto& rs : mine) {
      if (!fresh && same_template(*rs, *d))
        fresh = rs;
      else
        old.push_back(rs);
    }
  }
  std::int64_t highest_revision() const {
    std::int64_t n = 0;
    for (const auto& rs : old) n = std::max(n, revision_of(*rs));
    return n;
  }
  task::Task<Result<void>> update_set(Object next) {
    auto r = co_await m.client().update(gvr::replicasets, std::move(next));
    if (!r) co_return std::unexpected(r.error());
    co_await seen(sets(), key_of(**r), resource_version_of(**r));
    co_return Result<void>{};
  }
  task::Task<Result<void>> scale(const ObjectPtr& rs, std::int64_t n, bool quiet = false) {
    auto was = replicas_of(*rs);
    if (was == n) co_return Result<void>{};
    Object next = *rs;
    ensure(next, "spec")["replicas"] = n;
    auto& notes = ensure(next, "metadata.annotations");
    notes["deployment.kubernetes.io/desired-replicas"] = std::to_string(replicas_of(*d));
    notes["deployment.kubernetes.io/max-replicas"] = std::to_string(replicas_of(*d) + surge());
    MR_CO_CHECK(co_await update_set(std::move(next)));
    if (!quiet)
      m.event(*d, "Normal", "ScalingReplicaSet",
              fmt::format("Scaled {} replica set {} from {} to {}", n > was ? "up" : "down", name_of(*rs), was, n),
              kDeploymentComponent);
    co_return Result<void>{};
  }
  std::int64_t surge() const {
    if (text_at(*d, "spec.strategy.type", "RollingUpdate") != "RollingUpdate") return 0;
    auto s = int_or_percent(at(*d, "spec.strategy.rollingUpdate.maxSurge"), replicas_of(*d), true, 1);
    if (s == 0 && unavailable_raw() == 0) return 0;
    return s;
  }
  std::int64_t unavailable_raw() const {
    return int_or_percent(at(*d, "spec.strategy.rollingUpdate.maxUnavailable"), replicas_of(*d), false, 0);
  }
  std::int64_t max_unavailable() const {
    if (text_at(*d, "spec.strategy.type", "RollingUpdate") != "RollingUpdate") return 0;
    auto u = unavailable_raw();
    if (u == 0 && int_or_percent(at(*d, "spec.strategy.rollingUpdate.maxSurge"), replicas_of(*d), true, 1) == 0) u = 1;
    return std::min(u, replicas_of(*d));
  }

  // Makes or finds today's replica set, with the next revision.
  task::Task<Result<void>> ensure_fresh(std::int64_t first_replicas) {
    auto revision = highest_revision() + 1;
    if (fresh) {
      bool outdated = revision_of(*fresh) < revision && !old.empty() && revision_of(*fresh) != 0 &&
                      revision_of(*fresh) < highest_revision();
      if (outdated) {
        Object next = *fresh;
        ensure(next, "metadata.annotations")[kRevision] = std::to_string(revision);
        MR_CO_CHECK(co_await update_set(std::move(next)));
        fresh = sets().get(key_of(*fresh));
      }
      co_return Result<void>{};
    }
    Object tmpl = template_of(*d);
    auto hash = template_hash(tmpl, int_at(*d, "status.collisionCount"));
    Object rs = make_object("apps/v1", "ReplicaSet", namespace_of(*d), fmt::format("{}-{}", name_of(*d), hash));
    auto& meta = metadata(rs);
    meta["labels"] = object_at(tmpl, "metadata.labels");
    ensure(rs, "metadata.labels")[kDeploymentHash] = hash;
    meta["ownerReferences"] = Array{owner_reference(*d)};
    auto& notes = ensure(rs, "metadata.annotations");
    for (const auto& [k, v] : object_at(*d, "metadata.annotations"))
      if (k != "kubectl.kubernetes.io/last-applied-configuration" && k != kRevision) notes[k] = v;
    notes[kRevision] = std::to_string(revision);
    notes["deployment.kubernetes.io/desired-replicas"] = std::to_string(replicas_of(*d));
    notes["deployment.kubernetes.io/max-replicas"] = std::to_string(replicas_of(*d) + surge());
    auto& spec = ensure(rs, "spec");
    spec["replicas"] = first_replicas;
    if (auto s = int_at(*d, "spec.minReadySeconds"); s > 0) spec["minReadySeconds"] = s;
    Object selector = object_at(*d, "spec.selector");
    ensure(selector, "matchLabels")[kDeploymentHash] = hash;
    spec["selector"] = std::move(selector);
    ensure(tmpl, "metadata.labels")[kDeploymentHash] = hash;
    spec["template"] = std::move(tmpl);
    auto made = co_await m.client().create(gvr::replicasets, std::move(rs));
    if (!made) {
      if (made.error().reason == "AlreadyExists") {
        // Another template has this hash, or the cache has not seen ours yet.
        Object status = object_at(*d, "status");
        status["collisionCount"] = int_at(status, "collisionCount") + 1;
        MR_CO_CHECK(co_await write_status(m, gvr::deployments, *d, std::move(status)));
      }
      co_return std::unexpected(made.error());
    }
    co_await seen(sets(), key_of(**made), resource_version_of(**made));
    fresh = *made;
    m.event(*d, "Normal", "ScalingReplicaSet",
            fmt::format("Scaled up replica set {} from 0 to {}", name_of(*fresh), first_replicas),
            kDeploymentComponent);
    co_return Result<void>{};
  }

  std::int64_t total() const {
    std::int64_t n = fresh ? replicas_of(*fresh) : 0;
    for (const auto& rs : old) n += replicas_of(*rs);
    return n;
  }
  std::int64_t available() const {
    std::int64_t n = fresh ? int_at(*fresh, "status.availableReplicas") : 0;
    for (const auto& rs : old) n += int_at(*rs, "status.availableReplicas");
    return n;
  }

  task::Task<Result<void>> recreate() {
    bool any = false;
    for (const auto& rs : old) {
      MR_CO_CHECK(co_await scale(rs, 0));
      for (const auto& p : m.informer(gvr::pods).owned_by(uid_of(*rs))) {
        auto phase = text_at(*p, "status.phase");
        if (phase != "Failed" && phase != "Succeeded") any = true;
      }
    }
    if (any) co_return Result<void>{};  // their pods must be gone first
    MR_CO_CHECK(co_await ensure_fresh(replicas_of(*d)));
    co_return co_await scale(fresh, replicas_of(*d));
  }
  task::Task<Result<void>> roll() {
    auto wanted = replicas_of(*d);
    std::int64_t old_total = 0;
    for (const auto& rs : old) old_total += replicas_of(*rs);
    auto room = std::max<std::int64_t>(0, wanted + surge() - old_total);
    if (!fresh) {
      MR_CO_CHECK(co_await ensure_fresh(std::min(wanted, room)));
    } else {
      MR_CO_CHECK(co_await ensure_fresh(0));
      auto has = replicas_of(*fresh);
      if (has > wanted) {
        MR_CO_CHECK(co_await scale(fresh, wanted));
      } else if (has < wanted) {
        auto up = std::min(wanted - has, std::max<std::int64_t>(0, wanted + surge() - total()));
        MR_CO_CHECK(co_await scale(fresh, has + up));
      }
    }
    gather();
    if (!fresh) co_return Result<void>{};
    // Old ones go as far as enough stay available; those that are not available go first.
    auto min_available = wanted - max_unavailable();
    auto fresh_unavailable = replicas_of(*fresh) - int_at(*fresh, "status.availableReplicas");
    auto can_go = total() - min_available - fresh_unavailable;
    if (can_go <= 0) co_return Result<void>{};
    for (const auto& rs : old) {
      auto has = replicas_of(*rs);
      auto sick = has - int_at(*rs, "status.availableReplicas");
      auto down = std::min(std::max<std::int64_t>(0, sick), can_go);
      if (down <= 0) continue;
      can_go -= down;
      MR_CO_CHECK(co_await scale(rs, has - down));
    }
    gather();
    auto healthy = available() - min_available;
    for (const auto& rs : old) {
      auto has = replicas_of(*rs);
      auto down = std::min(has, std::min(healthy, can_go));
      if (down <= 0) continue;
      healthy -= down;
      can_go -= down;
      MR_CO_CHECK(co_await scale(rs, has - down));
    }
    co_return Result<void>{};
  }
  // Old replica sets beyond the history limit go.
  task::Task<Result<void>> clean() {
    auto limit = int_at(*d, "spec.revisionHistoryLimit", 10);
    std::vector<ObjectPtr> empty;
    for (const auto& rs : old)
      if (replicas_of(*rs) == 0 && int_at(*rs, "status.replicas") == 0 && !deleting(*rs)) empty.push_back(rs);
    std::ranges::sort(empty, {}, [](const ObjectPtr& o) { return revision_of(*o); });
    for (std::size_t i = 0; static_cast<std::int64_t>(empty.size() - i) > limit; ++i) {
      auto r = co_await m.client().remove(gvr::replicasets, key_of(*empty[i]));
      if (!r && r.error().reason != "NotFound") co_return std::unexpected(r.error());
    }
    co_return Result<void>{};
  }
  task::Task<Result<Again>> report() {
    auto wanted = replicas_of(*d);
    std::int64_t have = 0, ready = 0, avail = 0;
    for (const auto& rs : sets().owned_by(uid_of(*d))) {
      have += int_at(*rs, "status.replicas");
      ready += int_at(*rs, "status.readyReplicas");
      avail += int_at(*rs, "status.availableReplicas");
    }
    std::int64_t updated = fresh ? int_at(*fresh, "status.replicas") : 0;
    Object next = *d;
    auto& status = ensure(next, "status");
    status["observedGeneration"] = int_at(*d, "metadata.generation", 1);
    auto put = [&](const char* name, std::int64_t n) {
      if (n > 0)
        status[name] = n;
      else
        status.erase(name);
    };
    put("replicas", have);
    put("updatedReplicas", updated);
    put("readyReplicas", ready);
    put("availableReplicas", avail);
    put("unavailableReplicas", std::max<std::int64_t>(0, std::max(have, wanted) - avail));
    auto name = fresh ? std::string(name_of(*fresh)) : std::string();
    bool complete = updated == wanted && have == wanted && avail >= wanted;
    if (avail >= wanted - max_unavailable())
      set_condition(next, "Available", "True", "MinimumReplicasAvailable", "Deployment has minimum availability.");
    else
      set_condition(next, "Available", "False", "MinimumReplicasUnavailable",
                    "Deployment does not have minimum availability.");
    long again = -1;
    auto deadline = int_at(*d, "spec.progressDeadlineSeconds", 600);
    if (bool_at(*d, "spec.paused")) {
      set_condition(next, "Progressing", "Unknown", "DeploymentPaused", "Deployment is paused");
    } else if (complete) {
      set_condition(next, "Progressing", "True", "NewReplicaSetAvailable",
                    fmt::format("ReplicaSet \"{}\" has successfully progressed.", name));
    } else if (fresh) {
      const auto* c = condition(*d, "Progressing");
      auto before = object_at(*d, "status");
      bool moved = int_at(before, "updatedReplicas") != updated || int_at(before, "availableReplicas") != avail ||
                   int_at(before, "replicas") != have ||
                   int_at(before, "observedGeneration") != int_at(*d, "metadata.generation", 1);
      auto since = c != nullptr ? unix_of(text_at(*c, "lastUpdateTime")) : 0;
      auto now = time::now_ms() / 1000;
      if (!moved && since != 0 && now - since > deadline) {
        set_condition(next, "Progressing", "False", "ProgressDeadlineExceeded",
                      fmt::format("ReplicaSet \"{}\" has timed out progressing.", name));
      } else {
        set_condition(next, "Progressing", "True", "ReplicaSetUpdated",
                      fmt::format("ReplicaSet \"{}\" is progressing.", name));
        if (moved || since == 0)
          for (auto& v : status["conditions"].get_array())
            if (text_at(v.get_object(), "type") == "Progressing") v.get_object()["lastUpdateTime"] = now_text();
        again = static_cast<long>(std::max<std::int64_t>(1, deadline) * 1000);
      }
    }
    if (auto* conditions = next["status"].get_object().if_contains("conditions"); conditions != nullptr)
      for (auto& v : conditions->get_array())
        if (!v.get_object().contains("lastUpdateTime")) v.get_object()["lastUpdateTime"] = now_text();
    MR_CO_CHECK(co_await write_status(m, gvr::deployments, *d, next["status"].get_object()));
    co_return Again{again};
  }
};

task::Task<Result<Again>> reconcile_deployment(Manager& m, Key key) {
  auto d = m.informer(gvr::deployments).get(key);
  if (!d || deleting(*d)) co_return Again{};
  Deployment x{m, d, nullptr, {}};
  x.gather();
  if (bool_at(*d, "spec.paused")) {
    // Paused: scaling goes on, rolling out does not.
    if (x.fresh)
      MR_CO_CHECK(co_await x.scale(x.fresh, replicas_of(*d)));
    else if (x.old.size() == 1)
      MR_CO_CHECK(co_await x.scale(x.old.back(), replicas_of(*d)));
  } else if (text_at(*d, "spec.strategy.type") == "Recreate" && !x.old.empty()) {
    MR_CO_CHECK(co_await x.recreate());
  } else {
    MR_CO_CHECK(co_await x.roll());
  }
  x.gather();
  // The deployment wears the revision of its newest replica set.
  if (x.fresh && annotation(*d, kRevision) != annotation(*x.fresh, kRevision)) {
    Object next = *d;
    ensure(next, "metadata.annotations")[kRevision] = annotation(*x.fresh, kRevision);
    auto r = co_await m.client().update_status(gvr::deployments, std::move(next));
    if (!r) co_return std::unexpected(r.error());
    co_await seen(m.informer(gvr::deployments), key, resource_version_of(**r));
    x.d = *r;
  }
  MR_CO_CHECK(co_await x.clean());
  x.gather();
  co_return co_await x.report();
}

}  // namespace

void add_deployment_controller(Manager& m) {
  auto& q = m.controller("deployment", [&m](Key key) { return reconcile_deployment(m, std::move(key)); });
  m.enqueue_changes(m.informer(gvr::deployments), q);
  m.enqueue_owner(m.informer(gvr::replicasets), "Deployment", q);
  // Recreate waits for pods to be gone.
  m.informer(gvr::pods).on_change([&m, &q](const ObjectPtr& now, const ObjectPtr& before) {
    if (now) return;
    const auto* ref = controller_of(*before);
    if (ref == nullptr || text_at(*ref, "kind") != "ReplicaSet") return;
    auto rs =
        m.informer(gvr::replicasets).get({std::string(namespace_of(*before)), std::string(text_at(*ref, "name"))});
    if (!rs) return;
    if (const auto* owner = controller_of(*rs); owner != nullptr && text_at(*owner, "kind") == "Deployment")
      q.add({std::string(namespace_of(*rs)), std::string(text_at(*owner, "name"))});
  });
}

}  // namespace mr::kube
