#include "serving/controller/graph_controller.h"

#include <fmt/format.h>

#include <algorithm>

#include "json/parse.h"
#include "serving/controller/graph.h"
#include "serving/controller/writer.h"

namespace mr::serving {

using kube::Array;
using kube::Key;
using kube::Object;
using kube::ObjectPtr;
using kube::Value;

namespace {

constexpr std::string_view kGraphLabel = "serving.kserve.io/inferencegraph";
constexpr std::string_view kGraphSource = "v1alpha1Controllers";

Object owned(std::string_view api, std::string_view kind, const Object& owner) {
  auto o = kube::make_object(api, kind, kube::namespace_of(owner), kube::name_of(owner));
  auto& meta = kube::metadata(o);
  meta["labels"] = Object{{std::string(kGraphLabel), kube::name_of(owner)}};
  meta["ownerReferences"] = Array{kube::owner_reference(owner)};
  return o;
}

Object router_deployment(const Object& graph, const Object& resolved) {
  auto d = owned("apps/v1", "Deployment", graph);
  auto& spec = kube::ensure(d, "spec");
  spec["replicas"] = std::clamp<std::int64_t>(kube::int_at(graph, "spec.minReplicas", 1), 1, 100);
  spec["selector"] = Object{{"matchLabels", Object{{std::string(kGraphLabel), kube::name_of(graph)}}}};
  Object document{{"nodes", kube::object_at(resolved, "nodes")}};
  for (const char* k : {"routerTimeouts", "timeout"})
    if (const auto* v = resolved.if_contains(k)) document[k] = *v;
  Object container{{"name", "router"},
                   {"image", kRouterImage},
                   {"args", Array{"--graph-json", Value(json::serialize(document))}},
                   {"ports", Array{Object{{"name", "user-port"}, {"containerPort", 8080}, {"protocol", "TCP"}}}}};
  Object pod{{"containers", Array{std::move(container)}}};
  if (auto account = kube::text_at(graph, "spec.serviceAccountName"); !account.empty())
    pod["serviceAccountName"] = account;
  spec["template"] = Object{{"metadata", Object{{"labels", Object{{std::string(kGraphLabel), kube::name_of(graph)}}}}},
                            {"spec", std::move(pod)}};
  return d;
}

Object router_service(const Object& graph) {
  auto s = owned("v1", "Service", graph);
  auto& spec = kube::ensure(s, "spec");
  spec["type"] = "ClusterIP";
  spec["selector"] = Object{{std::string(kGraphLabel), kube::name_of(graph)}};
  spec["ports"] = Array{Object{{"name", "http"}, {"port", 80}, {"protocol", "TCP"}, {"targetPort", 8080}}};
  return s;
}

std::string host_of(const Object& o, const UrlOptions& urls) {
  return fmt::format("{}-{}.{}", kube::name_of(o), kube::namespace_of(o), urls.domain);
}

Object router_route(const Object& graph, const RoutingOptions& o) {
  auto v = owned("networking.istio.io/v1", "VirtualService", graph);
  auto& spec = kube::ensure(v, "spec");
  spec["gateways"] = Array{Value(o.gateway)};
  spec["hosts"] = Array{Value(host_of(graph, o.urls))};
  Object to{{"destination",
             Object{{"host", fmt::format("{}.{}.svc.cluster.local", kube::name_of(graph), kube::namespace_of(graph))},
                    {"port", Object{{"number", 80}}}}}};
  auto timeout = kube::int_at(graph, "spec.timeout", 300);
  spec["http"] = Array{
      Object{{"route", Array{std::move(to)}}, {"timeout", fmt::format("{}s", std::max<std::int64_t>(1, timeout))}}};
  return v;
}

task::Task<Result<void>> write_status(kube::Client& client, kube::Gvr gvr, ObjectPtr o, Object status) {
  const auto* have = o->if_contains("status");
  if (have != nullptr && *have == Value(status)) co_return Result<void>{};
  Object next = *o;
  next["status"] = std::move(status);
  auto done = co_await client.update_status(gvr, std::move(next));
  if (!done) co_return std::unexpected(done.error());
  co_return Result<void>{};
}

bool is_true(const Object& o, std::string_view type) {
  const auto* c = kube::condition(o, type);
  return c != nullptr && kube::text_at(*c, "status") == "True";
}

}  // namespace

Result<Object> resolve_services(const Object& spec, const std::function<ObjectPtr(const std::string&)>& find) {
  Object out = spec;
  auto* nodes = out.contains("nodes") ? out.at("nodes").if_object() : nullptr;
  if (nodes == nullptr) return out;
  for (auto& [_, node] : *nodes) {
    auto* o = node.if_object();
    auto* steps = o != nullptr && o->contains("steps") ? o->at("steps").if_array() : nullptr;
    if (steps == nullptr) continue;
    for (auto& s : *steps) {
      auto* step = s.if_object();
      if (step == nullptr) continue;
      std::string name(kube::text_at(*step, "serviceName"));
      if (name.empty()) continue;
      auto isvc = find(name);
      if (!isvc) return fail(Code::unavailable, fmt::format("Failed to find graph service {}", name));
      auto url = kube::text_at(*isvc, "status.address.url");
      if (url.empty() || !is_true(*isvc, "Ready"))
        return fail(Code::unavailable, fmt::format("service {} is not ready", name));
      auto predictor = normal_predictor(kube::object_at(*isvc, "spec.predictor"));
      auto protocol = kube::text_at(predictor, "model.protocolVersion");
      bool v2 = protocol.empty() ? kube::text_at(predictor, "model.modelFormat.name") == "mlflow" : protocol == "v2";
      (*step)["serviceUrl"] =
          v2 ? fmt::format("{}/v2/models/{}/infer", url, name) : fmt::format("{}/v1/models/{}:predict", url, name);
      step->erase("serviceName");
    }
  }
  return out;
}

struct GraphController::Impl : std::enable_shared_from_this<GraphController::Impl> {
  Impl(kube::Manager& m, RoutingOptions o)
      : manager(m),
        options(std::move(o)),
        graphs(m.informer(kube::gvr::inferencegraphs)),
        isvcs(m.informer(kube::gvr::inferenceservices)),
        deployments(m.informer(kube::gvr::deployments)),
        pods(m.informer(kube::gvr::pods)),
        services(m.informer(kube::gvr::services)),
        routes(m.informer(kube::gvr::virtualservices)) {}
  kube::Manager& manager;
  RoutingOptions options;
  kube::Informer &graphs, &isvcs, &deployments, &pods, &services, &routes;

  void watch() {
    std::weak_ptr<Impl> weak = shared_from_this();
    auto& queue = manager.controller("inferencegraph", [weak](Key key) -> task::Task<Result<kube::Again>> {
      auto self = weak.lock();
      if (!self) co_return kube::Again{};
      co_return co_await self->reconcile(std::move(key));
    });
    manager.enqueue_changes(graphs, queue);
    for (auto* of : {&deployments, &services, &routes}) manager.enqueue_owner(*of, "InferenceGraph", queue);
    pods.on_change([&queue](const ObjectPtr& now, const ObjectPtr& before) {
      const auto& o = now ? *now : *before;
      if (auto name = kube::label(o, kGraphLabel); !name.empty())
        queue.add({std::string(kube::namespace_of(o)), std::string(name)});
    });
    isvcs.on_change([this, &queue](const ObjectPtr& now, const ObjectPtr& before) {
      for (const auto& g : graphs.list(kube::namespace_of(now ? *now : *before))) queue.add(kube::key_of(*g));
    });
  }

  task::Task<Result<kube::Again>> reconcile(Key key) {
    auto graph = graphs.get(key);
    if (!graph || kube::deleting(*graph)) co_return kube::Again{};
    Condition ready{"Ready"};
    auto resolved = resolve_services(kube::object_at(*graph, "spec"),
                                     [&](const std::string& name) { return isvcs.get({key.ns, name}); });
    if (!resolved) {
      ready.status = "False";
      ready.reason = "ServiceNotReady";
      ready.message = resolved.error().message;
    } else if (auto parsed = Graph::parse(*resolved); !parsed) {
      ready.status = "False";
      ready.reason = "InvalidGraph";
      ready.message = parsed.error().message;
    } else {
      auto& client = manager.client();
      MR_CO_CHECK(co_await ensure_owned(client, kube::gvr::deployments, graph, router_deployment(*graph, *resolved),
                                        deployments.get(key)));
      MR_CO_CHECK(co_await ensure_owned(client, kube::gvr::services, graph, router_service(*graph), services.get(key)));
      MR_CO_CHECK(co_await ensure_owned(client, kube::gvr::virtualservices, graph, router_route(*graph, options),
                                        routes.get(key)));
      ready.reason = "Deploying";
      ready.message = "The router is being started.";
      for (const auto& p : pods.list(key.ns))
        if (kube::label(*p, kGraphLabel) == key.name && is_true(*p, "Ready") && !kube::deleting(*p))
          ready = {"Ready", "True"};
    }
    Object status = kube::object_at(*graph, "status");
    bool was = is_true(*graph, "Ready");
    if (ready.status == "True" && !was)
      manager.event(*graph, "Normal", "InferenceGraphReady", fmt::format("InferenceGraph [{}] is Ready", key.name),
                    kGraphSource);
    status["deploymentMode"] = "Knative";
    status["observedGeneration"] = kube::int_at(*graph, "metadata.generation", 1);
    if (ready.status == "True")
      status["url"] = fmt::format("{}://{}", options.urls.scheme, host_of(*graph, options.urls));
    status["conditions"] = conditions_of({ready}, kube::array_at(*graph, "status.conditions"));
    MR_CO_CHECK(co_await write_status(manager.client(), kube::gvr::inferencegraphs, graph, std::move(status)));
    co_return kube::Again{};
  }
};

GraphController::GraphController(kube::Manager& manager, RoutingOptions options)
    : impl_(std::make_shared<Impl>(manager, std::move(options))) {
  impl_->watch();
}
GraphController::~GraphController() = default;

Object trained_model_status(const Object& model, const Object* parent, bool multi_model) {
  Condition framework{"FrameworkSupported"}, service{"InferenceServiceReady"}, server{"IsMMSPredictor"},
      memory{"MemoryResourceAvailable"}, ready{"Ready"};
  auto name = kube::text_at(model, "spec.inferenceService");
  auto set = [](Condition& c, bool ok, std::string reason, std::string message) {
    c.status = ok ? "True" : "False";
    if (!ok) c.reason = std::move(reason), c.message = std::move(message);
  };
  set(service, parent != nullptr && is_true(*parent, "Ready"), "InferenceServiceNotReady",
      parent == nullptr ? fmt::format("Inference Service \"{}\" does not exist", name)
                        : fmt::format("Inference Service \"{}\" is not ready", name));
  set(server, parent != nullptr && multi_model, "IsNotMMSPredictor",
      fmt::format(
          "Inference Service \"{}\" predictor is not configured for multi-model serving; its runtime serves the "
          "one model of its storageUri",
          name));
  auto format = kube::text_at(model, "spec.model.framework");
  set(framework, format == "sklearn" || format == "mlflow", "FrameworkNotSupported",
      fmt::format("Inference Service \"{}\" predictor does not support model framework \"{}\"", name, format));
  memory.status = "True";
  bool all = true;
  for (auto* c : {&framework, &service, &server, &memory})
    if (c->status != "True") {
      if (all) ready.reason = c->reason, ready.message = c->message;
      all = false;
    }
  // What KServe's agent would do now, nothing here does.
  if (all) ready.reason = "ModelNotLoaded", ready.message = "models are not loaded into multi-model servers here";
  ready.status = "False";
  Object status = kube::object_at(model, "status");
  status["conditions"] =
      conditions_of({framework, service, server, memory, ready}, kube::array_at(model, "status.conditions"));
  status["observedGeneration"] = kube::int_at(model, "metadata.generation", 1);
  status.erase("url");
  return status;
}

struct TrainedModelController::Impl : std::enable_shared_from_this<TrainedModelController::Impl> {
  explicit Impl(kube::Manager& m)
      : manager(m),
        models(m.informer(kube::gvr::trainedmodels)),
        isvcs(m.informer(kube::gvr::inferenceservices)),
        runtimes(m.informer(kube::gvr::servingruntimes)),
        cluster_runtimes(m.informer(kube::gvr::clusterservingruntimes)) {}
  kube::Manager& manager;
  kube::Informer &models, &isvcs, &runtimes, &cluster_runtimes;

  void watch() {
    std::weak_ptr<Impl> weak = shared_from_this();
    auto& queue = manager.controller("trainedmodel", [weak](Key key) -> task::Task<Result<kube::Again>> {
      auto self = weak.lock();
      if (!self) co_return kube::Again{};
      co_return co_await self->reconcile(std::move(key));
    });
    manager.enqueue_changes(models, queue);
    isvcs.on_change([this, &queue](const ObjectPtr& now, const ObjectPtr& before) {
      for (const auto& m : models.list(kube::namespace_of(now ? *now : *before))) queue.add(kube::key_of(*m));
    });
  }

  task::Task<Result<kube::Again>> reconcile(Key key) {
    auto model = models.get(key);
    if (!model || kube::deleting(*model)) co_return kube::Again{};
    auto parent = isvcs.get({key.ns, std::string(kube::text_at(*model, "spec.inferenceService"))});
    bool multi = false;
    if (parent) {
      std::string local(kube::text_at(*parent, "status.servingRuntimeName"));
      std::string wide(kube::text_at(*parent, "status.clusterServingRuntimeName"));
      auto rt = !local.empty() ? runtimes.get({key.ns, local}) : cluster_runtimes.get({"", wide});
      multi = rt && kube::bool_at(*rt, "spec.multiModel");
    }
    MR_CO_CHECK(co_await write_status(manager.client(), kube::gvr::trainedmodels, model,
                                      trained_model_status(*model, parent ? parent.get() : nullptr, multi)));
    co_return kube::Again{};
  }
};

TrainedModelController::TrainedModelController(kube::Manager& manager) : impl_(std::make_shared<Impl>(manager)) {
  impl_->watch();
}
TrainedModelController::~TrainedModelController() = default;

}  // namespace mr::serving
