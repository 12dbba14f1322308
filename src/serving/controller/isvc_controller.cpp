#include "serving/controller/isvc_controller.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "log/log.h"
#include "serving/controller/agent.h"
#include "serving/controller/scales.h"
#include "serving/controller/writer.h"
#include "text/text.h"
#include "time/clock.h"

namespace mr::serving {

using kube::Array;
using kube::Key;
using kube::Object;
using kube::ObjectPtr;
using kube::Value;

namespace {

constexpr std::string_view kIsvcLabel = "serving.kserve.io/inferenceservice";
constexpr std::string_view kIsvcSource = "v1beta1Controllers";

// What of a component's spec has no effect here; shown in its condition rather than passed over.
std::string note_of(const Object& spec) {
  std::string note;
  auto add = [&](std::string_view text) { note += (note.empty() ? "" : "; ") + std::string(text); };
  for (const char* field : {"autoScaling", "workerSpec"})
    if (const auto* v = spec.if_contains(field); v != nullptr && !v->is_null())
      add(fmt::format("{} has no effect here", field));
  return note;
}

std::string condition_status(const Object& isvc, std::string_view type) {
  const auto* c = kube::condition(isvc, type);
  return c == nullptr ? "" : std::string(kube::text_at(*c, "status"));
}

}  // namespace

struct IsvcController::Impl : std::enable_shared_from_this<IsvcController::Impl> {
  Impl(kube::Manager& m, ControllerOptions o)
      : manager(m),
        options(std::move(o)),
        isvcs(m.informer(kube::gvr::inferenceservices)),
        runtimes(m.informer(kube::gvr::servingruntimes)),
        cluster_runtimes(m.informer(kube::gvr::clusterservingruntimes)),
        deployments(m.informer(kube::gvr::deployments)),
        pods(m.informer(kube::gvr::pods)),
        services(m.informer(kube::gvr::services)),
        endpoints(m.informer(kube::gvr::endpoints)),
        routes(m.informer(kube::gvr::virtualservices)),
        secrets(m.informer(kube::gvr::secrets)),
        accounts(m.informer(kube::gvr::serviceaccounts)) {}

  void begin_scaling() {
    if (options.demand == nullptr) return;
    auto changed = [weak = weak_from_this()](Key isvc) {
      if (auto self = weak.lock()) self->queue->add(std::move(isvc));
    };
    scales.emplace(manager, *options.demand, options.scale, std::move(changed), options.connected);
  }

  kube::Manager& manager;
  ControllerOptions options;
  kube::Informer &isvcs, &runtimes, &cluster_runtimes, &deployments, &pods, &services, &endpoints, &routes, &secrets,
      &accounts;
  kube::Queue* queue = nullptr;
  std::optional<Scales> scales;  // none: nothing follows demand
  // Deployments made here that the informer has not shown yet, and since when a revision has had no traffic.
  struct Fresh {
    ObjectPtr object;
    std::int64_t since_ns;
  };
  std::map<Key, Fresh> fresh;
  std::map<Key, std::int64_t> idle_since_ns;

  void watch() {
    std::weak_ptr<Impl> weak = shared_from_this();
    queue = &manager.controller("inferenceservice", [weak](Key key) -> task::Task<Result<kube::Again>> {
      auto self = weak.lock();
      if (!self) co_return kube::Again{};
      co_return co_await self->reconcile(std::move(key));
    });
    manager.enqueue_changes(isvcs, *queue);
    for (auto* of : {&deployments, &services, &routes}) manager.enqueue_owner(*of, "InferenceService", *queue);
    pods.on_change([this](const ObjectPtr& now, const ObjectPtr& before) {
      const auto& o = now ? *now : *before;
      if (auto name = kube::label(o, kIsvcLabel); !name.empty())
        queue->add({std::string(kube::namespace_of(o)), std::string(name)});
    });
    auto all_of_namespace = [this](const ObjectPtr& now, const ObjectPtr& before) {
      for (const auto& i : isvcs.list(kube::namespace_of(now ? *now : *before))) queue->add(kube::key_of(*i));
    };
    for (auto* of : {&secrets, &accounts, &runtimes}) of->on_change(all_of_namespace);
    cluster_runtimes.on_change([this](const ObjectPtr&, const ObjectPtr&) {
      for (const auto& i : isvcs.list()) queue->add(kube::key_of(*i));
    });
  }

  CredentialSource credentials(const std::string& ns, const Object& spec) {
    CredentialSource out;
    std::string account(kube::text_at(spec, "serviceAccountName", "default"));
    out.service_account = accounts.get({ns, account});
    out.storage_config = secrets.get({ns, "storage-config"});
    if (!out.service_account) return out;
    auto add = [&](std::string_view name) {
      if (name.empty()) return;
      if (auto s = secrets.get({ns, std::string(name)})) out.secrets.push_back(std::move(s));
    };
    add(kube::annotation(*out.service_account, "serving.kserve.io/storageSecretName"));
    for (const auto& ref : kube::array_at(*out.service_account, "secrets"))
      if (ref.is_object()) add(kube::text_at(ref.get_object(), "name"));
    return out;
  }

  std::vector<ObjectPtr> deployments_of(const Object& isvc) {
    auto out = deployments.owned_by(kube::uid_of(isvc));
    for (auto it = fresh.begin(); it != fresh.end();) {
      bool seen = deployments.get(it->first) != nullptr;
      if (seen || time::mono_ns() - it->second.since_ns > 10'000'000'000) {
        it = fresh.erase(it);
        continue;
      }
      const auto* ref = kube::controller_of(*it->second.object);
      if (ref != nullptr && kube::text_at(*ref, "uid") == kube::uid_of(isvc)) out.push_back(it->second.object);
      ++it;
    }
    return out;
  }

  std::vector<ObjectPtr> pods_of(const Object& isvc) {
    std::vector<ObjectPtr> out;
    for (const auto& p : pods.list(kube::namespace_of(isvc)))
      if (kube::label(*p, kIsvcLabel) == kube::name_of(isvc)) out.push_back(p);
    return out;
  }

  // Makes the revision that the spec asks for, where the newest is another one.
  task::Task<Result<void>> make_revision(ObjectPtr isvc, Component c, const Template& t, int replicas,
                                         std::vector<ObjectPtr>& deployments_now) {
    auto have = revisions_of(c, deployments_now, {});
    if (!have.empty() && have.back().hash == t.hash) co_return Result<void>{};
    int number = have.empty() ? 1 : have.back().number + 1;
    // A number is not used twice, also when its Deployment is gone.
    auto last = kube::text_at(*isvc, fmt::format("status.components.{}.latestCreatedRevision", component_name(c)));
    if (auto dash = last.rfind('-'); dash != std::string_view::npos) {
      auto n = last.substr(dash + 1);
      while (n.size() > 1 && n.starts_with('0')) n.remove_prefix(1);
      if (auto used = text::to_i64(n); used && *used >= number && *used < 99999) number = static_cast<int>(*used) + 1;
    }
    auto made =
        co_await manager.client().create(kube::gvr::deployments, revision_deployment(*isvc, c, number, t, replicas));
    if (!made) co_return std::unexpected(made.error());
    fresh[kube::key_of(**made)] = {*made, time::mono_ns()};
    deployments_now.push_back(*made);
    manager.event(*isvc, "Normal", "Created",
                  fmt::format("Created revision {}", revision_name(kube::name_of(*isvc), c, number)), kIsvcSource);
    co_return Result<void>{};
  }

  // `on_demand`: whether the Deployment is marked as one whose pods come when they are asked for.
  task::Task<Result<void>> scale(ObjectPtr deployment, int replicas, bool on_demand = false) {
    const bool marked = kube::annotation(*deployment, kOnDemand) == "true";
    if (kube::int_at(*deployment, "spec.replicas", 1) == replicas && marked == on_demand) co_return Result<void>{};
    Object change{{"spec", Object{{"replicas", replicas}}}};
    if (marked != on_demand)
      kube::ensure(change, "metadata.annotations")[kOnDemand] = on_demand ? Value("true") : Value(nullptr);
    auto done = co_await manager.client().patch(kube::gvr::deployments, kube::key_of(*deployment),
                                                kube::PatchType::merge, std::move(change));
    if (!done) co_return std::unexpected(done.error());
    co_return Result<void>{};
  }

  // Pods for what has traffic or is being brought up, none for the rest; the oldest of the rest are removed.
  task::Task<Result<long>> scale_revisions(Key isvc, const ComponentState& c, ScaleSettings settings) {
    long again = -1;
    std::set<std::string> keep{c.traffic.latest_created, c.traffic.latest_ready, c.traffic.latest_rolled_out,
                               c.traffic.previous_rolled_out};
    std::size_t idle = 0;
    for (auto r = c.revisions.rbegin(); r != c.revisions.rend(); ++r) {
      auto key = kube::key_of(*r->deployment);
      const bool routed =
          r->name == c.traffic.latest_created ||
          std::find(c.traffic.wanted.begin(), c.traffic.wanted.end(), r->name) != c.traffic.wanted.end() ||
          std::any_of(c.traffic.targets.begin(), c.traffic.targets.end(),
                      [&](const Traffic::Target& t) { return t.revision == r->name; });
      const bool busy = scales && scales->busy({isvc.ns, r->name});
      if (routed || busy) {
        idle_since_ns.erase(key);
        int wanted = std::max(settings.min, 1);
        if (scales && (c.on_demand || busy))
          wanted = scales->replicas(isvc, *r, settings);
        else if (scales)
          scales->forget({isvc.ns, r->name});
        // Nobody tells when the last request ends.
        if (busy && (!routed || !c.on_demand)) {
          const auto soon = static_cast<long>(options.idle_scale_down_ms);
          again = again < 0 ? soon : std::min(again, soon);
        }
        // The mark stays until pods are there that do not go again.
        const bool mark = wanted == 0 || (r->on_demand && (settings.min == 0 || r->ready_pods == 0));
        MR_CO_CHECK(co_await scale(r->deployment, wanted, mark));
        continue;
      }
      if (++idle > options.revision_history && !keep.contains(r->name)) {
        idle_since_ns.erase(key);
        if (scales) scales->forget({isvc.ns, r->name});
        for (const auto* suffix : {"", "-private"})
          if (services.get({key.ns, r->name + suffix}))
            (void)co_await manager.client().remove(kube::gvr::services, {key.ns, r->name + suffix});
        if (auto gone = co_await manager.client().remove(kube::gvr::deployments, key);
            !gone && gone.error().reason != "NotFound")
          co_return std::unexpected(gone.error());
        continue;
      }
      const bool asleep = kube::int_at(*r->deployment, "spec.replicas", 1) == 0;
      // The mark of one that slept would keep the whole service on demand where it no longer is.
      const bool unmark = r->on_demand && settings.min > 0;
      if (asleep && !unmark && !(scales && scales->knows({isvc.ns, r->name}))) continue;
      auto [since, first] = idle_since_ns.try_emplace(key, time::mono_ns());
      auto left = options.idle_scale_down_ms - (time::mono_ns() - since->second) / 1'000'000;
      if (left > 0) {
        again = again < 0 ? left + 1 : std::min(again, static_cast<long>(left) + 1);
        continue;
      }
      if (scales) scales->forget({isvc.ns, r->name});
      idle_since_ns.erase(since);
      if (!asleep || unmark) MR_CO_CHECK(co_await scale(r->deployment, 0));
    }
    co_return again;
  }

  task::Task<Result<void>> ensure(ObjectPtr isvc, const kube::Gvr& gvr, kube::Informer& cache, Object want) {
    bool adopt = gvr == kube::gvr::endpoints;
    auto r = co_await ensure_owned(manager.client(), gvr, isvc, want, cache.get(kube::key_of(want)), adopt);
    if (!r && r.error().code == Code::failed_precondition && r.error().reason.empty()) {
      manager.event(*isvc, "Warning", "NameTaken", r.error().message, kIsvcSource);
      co_return Result<void>{};
    }
    co_return r;
  }

  // Routes that nothing asks for any more.
  task::Task<Result<void>> remove_others(ObjectPtr isvc, const std::set<std::string>& service_names,
                                         const std::set<std::string>& route_names) {
    for (const auto& o : routes.owned_by(kube::uid_of(*isvc)))
      if (!route_names.contains(std::string(kube::name_of(*o))))
        (void)co_await manager.client().remove(kube::gvr::virtualservices, kube::key_of(*o));
    for (const auto& o : services.owned_by(kube::uid_of(*isvc)))
      if (!service_names.contains(std::string(kube::name_of(*o))))
        (void)co_await manager.client().remove(kube::gvr::services, kube::key_of(*o));
    co_return Result<void>{};
  }

  task::Task<Result<void>> write_status(ObjectPtr isvc, Object status) {
    const auto* have = isvc->if_contains("status");
    if (have != nullptr && *have == Value(status)) co_return Result<void>{};
    auto was = condition_status(*isvc, "Ready");
    Object next = *isvc;
    next["status"] = std::move(status);
    auto done = co_await manager.client().update_status(kube::gvr::inferenceservices, std::move(next));
    if (!done) co_return std::unexpected(done.error());
    auto now = condition_status(**done, "Ready");
    auto name = kube::name_of(*isvc);
    if (was != "True" && now == "True")
      manager.event(*isvc, "Normal", "InferenceServiceReady", fmt::format("InferenceService [{}] is Ready", name),
                    kIsvcSource);
    else if (was == "True" && now != "True") {
      const auto& why = *kube::condition(**done, "Ready");
      auto text = kube::text_at(why, "message");
      manager.event(*isvc, "Warning", "InferenceServiceNotReady",
                    fmt::format("InferenceService [{}] is no longer Ready because of: {}", name,
                                text.empty() ? kube::text_at(why, "reason") : text),
                    kIsvcSource);
    }
    auto failure = kube::text_at(**done, "status.modelStatus.lastFailureInfo.message");
    if (!failure.empty() && failure != kube::text_at(*isvc, "status.modelStatus.lastFailureInfo.message"))
      manager.event(*isvc, "Warning", std::string(kube::text_at(**done, "status.modelStatus.lastFailureInfo.reason")),
                    std::string(failure), kIsvcSource);
    co_return Result<void>{};
  }

  task::Task<Result<void>> stop(ObjectPtr isvc) {
    for (const auto& d : deployments_of(*isvc))
      (void)co_await manager.client().remove(kube::gvr::deployments, kube::key_of(*d));
    MR_CO_CHECK(co_await remove_others(isvc, {}, {}));
    if (scales) scales->forget_all(kube::key_of(*isvc));
    std::vector<ComponentState> components;
    for (auto c : {Component::predictor, Component::transformer, Component::explainer})
      if (kube::at(*isvc, fmt::format("spec.{}", component_name(c))) != nullptr) {
        components.emplace_back();
        components.back().component = c;
      }
    co_return co_await write_status(isvc, isvc_status({*isvc, components, nullptr, options.routing.urls, true}));
  }

  task::Task<Result<kube::Again>> reconcile(Key key) {
    auto isvc = isvcs.get(key);
    if (!isvc || kube::deleting(*isvc)) {
      if (scales) scales->forget_all(key);
      for (auto it = idle_since_ns.lower_bound({key.ns, key.name + "-"}); it != idle_since_ns.end();)
        it = it->first.ns == key.ns && it->first.name.starts_with(key.name + "-") ? idle_since_ns.erase(it)
                                                                                  : idle_since_ns.end();
      co_return kube::Again{};
    }
    if (kube::annotation(*isvc, "serving.kserve.io/stop") == "true") {
      MR_CO_CHECK(co_await stop(isvc));
      co_return kube::Again{};
    }
    std::vector<ComponentState> components;
    std::optional<RuntimeChoice> runtime;
    auto owned = deployments_of(*isvc);
    auto my_pods = pods_of(*isvc);
    std::map<Component, ScaleSettings> settings;
    for (auto c : {Component::predictor, Component::transformer, Component::explainer}) {
      const auto& given = kube::object_at(*isvc, fmt::format("spec.{}", component_name(c)));
      if (given.empty()) {
        for (const auto& r : revisions_of(c, owned, {})) {
          (void)co_await manager.client().remove(kube::gvr::deployments, kube::key_of(*r.deployment));
          if (scales) scales->forget({key.ns, r.name});
        }
        continue;
      }
      ComponentState state;
      state.component = c;
      auto spec = c == Component::predictor ? normal_predictor(given) : given;
      auto& scaling = settings[c] = scale_settings(*isvc, spec, options.scale);
      state.note = note_of(spec);
      if (!scaling.note.empty()) state.note += (state.note.empty() ? "" : "; ") + scaling.note;
      std::optional<RuntimeChoice> chosen;
      if (const auto& model = kube::object_at(spec, "model"); c == Component::predictor && !model.empty()) {
        auto choice = choose_runtime(model, runtimes.list(key.ns), cluster_runtimes.list());
        if (choice)
          chosen = std::move(*choice);
        else
          state.refusal = choice.error();
      }
      if (!state.refusal) {
        auto t = pod_template({*isvc, c, spec, chosen ? &*chosen : nullptr, credentials(key.ns, spec)});
        if (auto note = agent_note(spec, t && t->builtin); !note.empty())
          state.note += (state.note.empty() ? "" : "; ") + note;
        if (!t)
          state.refusal = t.error();
        else
          MR_CO_CHECK(co_await make_revision(isvc, c, *t, std::max(scaling.min, 1), owned));
      }
      if (chosen) runtime = std::move(chosen);
      state.revisions = revisions_of(c, owned, my_pods);
      // Whose requests are counted; also while one that slept gets the pods that it now always has.
      state.on_demand = scales && (scaling.metered() || std::ranges::any_of(state.revisions, [](const Revision& r) {
                                     return r.on_demand && r.ready_pods == 0;
                                   }));
      if (!state.on_demand)
        for (auto& r : state.revisions) r.on_demand = false;
      std::optional<int> canary;
      if (kube::at(spec, "canaryTrafficPercent") != nullptr)
        canary = static_cast<int>(kube::int_at(spec, "canaryTrafficPercent", 100));
      const auto& before = kube::object_at(*isvc, fmt::format("status.components.{}", component_name(c)));
      state.traffic = share_traffic(before, state.revisions, canary);
      if (c == Component::predictor) add_shadow(*isvc, state.traffic);
      if (!state.traffic.shadow.empty())
        state.note += fmt::format("{}revision {} gets copies of {} % of the requests", state.note.empty() ? "" : "; ",
                                  state.traffic.shadow, state.traffic.shadow_percent);
      components.push_back(std::move(state));
    }
    long again = -1;
    std::set<std::string> service_names, route_names;
    for (const auto& c : components) {
      for (const auto& r : c.revisions)
        for (auto& s : revision_services(*isvc, c.component, r)) {
          service_names.emplace(kube::name_of(s));
          MR_CO_CHECK(co_await ensure(isvc, kube::gvr::services, services, std::move(s)));
        }
      MR_CO_TRY(long after, co_await scale_revisions(key, c, settings[c.component]));
      if (after >= 0) again = again < 0 ? after : std::min(again, after);
    }
    for (auto& o : name_services(*isvc, components, options.routing)) {
      bool is_service = kube::kind_of(o) == "Service";
      if (is_service) service_names.emplace(kube::name_of(o));
      MR_CO_CHECK(is_service ? co_await ensure(isvc, kube::gvr::services, services, std::move(o))
                             : co_await ensure(isvc, kube::gvr::endpoints, endpoints, std::move(o)));
    }
    for (auto& v : virtual_services(*isvc, components, options.routing)) {
      route_names.emplace(kube::name_of(v));
      MR_CO_CHECK(co_await ensure(isvc, kube::gvr::virtualservices, routes, std::move(v)));
    }
    MR_CO_CHECK(co_await remove_others(isvc, service_names, route_names));
    MR_CO_CHECK(co_await write_status(
        isvc, isvc_status({*isvc, components, runtime ? &*runtime : nullptr, options.routing.urls, false})));
    co_return kube::Again{again};
  }
};

IsvcController::IsvcController(kube::Manager& manager, ControllerOptions options)
    : impl_(std::make_shared<Impl>(manager, std::move(options))) {
  impl_->watch();
  impl_->begin_scaling();
}
IsvcController::~IsvcController() = default;

task::Task<void> publish_runtimes(kube::Client& client) {
  for (auto& want : published_runtimes()) {
    auto key = kube::key_of(want);
    auto have = co_await client.get(kube::gvr::clusterservingruntimes, key);
    Result<ObjectPtr> done;
    if (!have) {
      done = co_await client.create(kube::gvr::clusterservingruntimes, want);
    } else {
      if (kube::label(**have, "app.kubernetes.io/managed-by") != "millrace") continue;
      const auto* spec = (*have)->if_contains("spec");
      if (spec != nullptr && covers(*spec, want.at("spec"))) continue;
      Object next = **have;
      next["spec"] = want.at("spec");
      done = co_await client.update(kube::gvr::clusterservingruntimes, std::move(next));
    }
    if (!done && done.error().reason != "AlreadyExists")
      log::error("a serving runtime cannot be published", {{"name", key.name}, {"error", done.error().message}});
  }
}

}  // namespace mr::serving
