// What InferenceServices become: runtimes, templates, revisions, traffic, routes and the status.
#include "json/parse.h"
#include "serving/controller/routing.h"
#include "serving/controller/storage.h"
#include "serving/controller/writer.h"

namespace mr::serving {
namespace {

using kube::Object;
using kube::ObjectPtr;

Object obj(std::string_view text) {
  auto v = json::parse(text);
  EXPECT_TRUE(v && v->is_object()) << text;
  return v && v->is_object() ? v->get_object() : Object{};
}
ObjectPtr ptr(Object o) { return std::make_shared<const Object>(std::move(o)); }
ObjectPtr ptr(std::string_view text) { return ptr(obj(text)); }

std::vector<ObjectPtr> published() {
  std::vector<ObjectPtr> out;
  for (auto& o : published_runtimes()) out.push_back(ptr(std::move(o)));
  return out;
}

// The seed's InferenceService.
Object seed_isvc() {
  return obj(R"({"apiVersion":"serving.kserve.io/v1beta1","kind":"InferenceService",
    "metadata":{"name":"bankchurn-model","namespace":"team","uid":"u-1","generation":1,
      "annotations":{"sidecar.istio.io/inject":"false"}},
    "spec":{"predictor":{"serviceAccountName":"sa-minio-kserve","model":{"modelFormat":{"name":"mlflow"},
      "protocolVersion":"v2","storageUri":"s3://mlflow-artifacts/1/abc/artifacts/model/"}}}})");
}

CredentialSource seed_credentials() {
  CredentialSource c;
  c.service_account = ptr(R"({"metadata":{"name":"sa-minio-kserve"},"secrets":[{"name":"minio-kserve-secret"}]})");
  c.secrets.push_back(ptr(R"({"metadata":{"name":"minio-kserve-secret","annotations":{
    "serving.kserve.io/s3-endpoint":"minio-service.kubeflow.svc.cluster.local:9000",
    "serving.kserve.io/s3-usehttps":"0","serving.kserve.io/s3-useanoncredential":"false"}},
    "data":{"AWS_ACCESS_KEY_ID":"bWluaW8=","AWS_SECRET_ACCESS_KEY":"bWluaW8xMjM="}})"));
  return c;
}

std::string choose(std::string_view model, const std::vector<ObjectPtr>& own = {}) {
  auto r = choose_runtime(obj(model), own, published());
  return r ? r->name : r.error().reason + ": " + r.error().message;
}

TEST(ServingRuntimes, AreChosenByFormatProtocolAndPriority) {
  EXPECT_EQ(choose(R"({"modelFormat":{"name":"mlflow"}})"), "kserve-mlserver");
  EXPECT_EQ(choose(R"({"modelFormat":{"name":"mlflow"},"protocolVersion":"v1"})"), "millrace-mlflow");
  EXPECT_EQ(choose(R"({"modelFormat":{"name":"sklearn"}})"), "kserve-sklearnserver");
  EXPECT_EQ(choose(R"({"modelFormat":{"name":"sklearn"},"protocolVersion":"v2"})"), "kserve-mlserver");
  EXPECT_EQ(choose(R"({"modelFormat":{"name":"sklearn","version":"0"},"protocolVersion":"v2"})"), "kserve-mlserver");
  EXPECT_EQ(choose(R"({"modelFormat":{"name":"mlflow"},"runtime":"kserve-mlserver"})"), "kserve-mlserver");
  EXPECT_EQ(choose(R"({"modelFormat":{"name":"onnx"}})"), "millrace-onnx");
}

TEST(ServingRuntimes, RefusalsHaveKServesReasons) {
  EXPECT_EQ(choose(R"({"modelFormat":{"name":"mlflow"},"runtime":"nope"})"),
            "RuntimeNotRecognized: Waiting for runtime to become available");
  EXPECT_EQ(choose(R"({"modelFormat":{"name":"sklearn"},"runtime":"kserve-mlserver","protocolVersion":"v1"})"),
            "NoSupportingRuntime: Specified runtime does not support specified protocol version");
  EXPECT_EQ(choose(R"({"modelFormat":{"name":"onnx"},"runtime":"kserve-mlserver"})"),
            "NoSupportingRuntime: Specified runtime does not support specified framework/version");
  auto none = choose(R"({"modelFormat":{"name":"xgboost"}})");
  EXPECT_TRUE(
      none.starts_with("NoSupportingRuntime: No runtime found to support specified framework/version: 'xgboost'"))
      << none;
  auto off = ptr(R"({"metadata":{"name":"mine"},"spec":{"disabled":true,"supportedModelFormats":[{"name":"x"}]}})");
  EXPECT_EQ(choose(R"({"modelFormat":{"name":"x"},"runtime":"mine"})", {off}),
            "RuntimeDisabled: Specified runtime is disabled");
}

TEST(ServingRuntimes, NamespacedOnesComeFirstAndHighPrioritiesBeforeLow) {
  auto low = ptr(
      R"({"metadata":{"name":"low"},"spec":{"supportedModelFormats":[{"name":"sklearn","autoSelect":true,"priority":1}]}})");
  auto high = ptr(
      R"({"metadata":{"name":"high"},"spec":{"supportedModelFormats":[{"name":"sklearn","autoSelect":true,"priority":2}]}})");
  auto manual =
      ptr(R"({"metadata":{"name":"manual"},"spec":{"supportedModelFormats":[{"name":"sklearn","priority":9}]}})");
  EXPECT_EQ(choose(R"({"modelFormat":{"name":"sklearn"}})", {low, high, manual}), "high");
  EXPECT_EQ(choose(R"({"modelFormat":{"name":"sklearn"},"runtime":"manual"})", {low, high, manual}), "manual");
}

TEST(ServingRuntimes, OldFormsAndPlaceholders) {
  auto p = normal_predictor(obj(R"({"minReplicas":2,"sklearn":{"storageUri":"s3://b/k","resources":{}}})"));
  EXPECT_EQ(kube::text_at(p, "model.modelFormat.name"), "sklearn");
  EXPECT_EQ(kube::text_at(p, "model.storageUri"), "s3://b/k");
  EXPECT_EQ(kube::int_at(p, "minReplicas"), 2);
  EXPECT_EQ(p.if_contains("sklearn"), nullptr);
  auto isvc = obj(R"({"metadata":{"name":"m","labels":{"a":"1"}}})");
  kube::Value v = obj(R"({"args":["--n={{.Name}}","{{ .Labels.a }}x","plain"]})");
  ASSERT_TRUE(fill_placeholders(v, isvc));
  EXPECT_EQ(json::serialize(v), R"({"args":["--n=m","1x","plain"]})");
  kube::Value unknown = "{{.Spec}}";
  EXPECT_FALSE(fill_placeholders(unknown, isvc));
  EXPECT_TRUE(image_is("docker.io/millrace/predictor:v1", kPredictorImage));
  EXPECT_FALSE(image_is("evilmillrace/predictor", kPredictorImage));
}

Template seed_template(Object isvc) {
  auto spec = normal_predictor(kube::object_at(isvc, "spec.predictor"));
  auto choice = choose_runtime(kube::object_at(spec, "model"), {}, published());
  EXPECT_TRUE(choice);
  auto t = pod_template({isvc, Component::predictor, spec, &*choice, seed_credentials()});
  EXPECT_TRUE(t) << (t ? "" : t.error().message);
  return t ? *t : Template{};
}

TEST(IsvcTemplate, TheSeedsPredictorReadsItsBucketWithTheSecretsKeys) {
  auto t = seed_template(seed_isvc());
  EXPECT_TRUE(t.builtin);
  EXPECT_EQ(kube::text_at(t.pod, "spec.serviceAccountName"), "sa-minio-kserve");
  const auto& c = kube::array_at(t.pod, "spec.containers")[0].get_object();
  EXPECT_EQ(kube::text_at(c, "name"), "kserve-container");
  auto args = json::serialize(kube::Value(kube::array_at(c, "args")));
  EXPECT_NE(args.find("--model_name=bankchurn-model"), std::string::npos) << args;
  EXPECT_NE(args.find("--storage_uri=s3://mlflow-artifacts/1/abc/artifacts/model/"), std::string::npos) << args;
  auto env = json::serialize(kube::Value(kube::array_at(c, "env")));
  EXPECT_NE(
      env.find(
          R"({"name":"AWS_SECRET_ACCESS_KEY","valueFrom":{"secretKeyRef":{"name":"minio-kserve-secret","key":"AWS_SECRET_ACCESS_KEY"}}})"),
      std::string::npos)
      << env;
  EXPECT_NE(env.find(R"({"name":"AWS_ENDPOINT_URL","value":"http://minio-service.kubeflow.svc.cluster.local:9000"})"),
            std::string::npos)
      << env;
  EXPECT_EQ(env.find("minio123"), std::string::npos);
  EXPECT_EQ(kube::text_at(t.pod, "metadata.labels.component"), "predictor");
  EXPECT_EQ(kube::object_at(t.pod, "metadata.labels").at("serving.kserve.io/inferenceservice"), "bankchurn-model");
  EXPECT_EQ(kube::object_at(t.pod, "metadata.annotations").at("sidecar.istio.io/inject"), "false");
}

TEST(IsvcTemplate, OnlyWhatChangesThePodMakesARevision) {
  auto base = seed_template(seed_isvc()).hash;
  auto scaled = seed_isvc();
  kube::ensure(scaled, "spec.predictor")["minReplicas"] = 3;
  kube::ensure(scaled, "spec.predictor")["canaryTrafficPercent"] = 10;
  kube::metadata(scaled)["annotations"].as_object()["serving.kserve.io/stop"] = "false";
  EXPECT_EQ(seed_template(scaled).hash, base);
  auto moved = seed_isvc();
  kube::ensure(moved, "spec.predictor.model")["storageUri"] = "s3://mlflow-artifacts/2/x/artifacts/model";
  EXPECT_NE(seed_template(moved).hash, base);
}

TEST(IsvcTemplate, OtherImagesGetTheirModelFromAnInitializerAndTransformersTheirPredictor) {
  auto isvc = obj(R"({"metadata":{"name":"m","namespace":"ns"}})");
  auto spec = obj(R"({"containers":[{"name":"kserve-container","image":"python:3.11",
    "env":[{"name":"STORAGE_URI","value":"s3://b/k"}],"ports":[{"containerPort":9090}]}]})");
  auto t = pod_template({isvc, Component::predictor, spec, nullptr, {}});
  ASSERT_TRUE(t);
  EXPECT_FALSE(t->builtin);
  EXPECT_EQ(t->port, 9090);
  EXPECT_EQ(kube::text_at(t->pod, "spec.initContainers.0.image"), kInitializerImage);
  EXPECT_EQ(kube::text_at(t->pod, "spec.initContainers.0.args.1"), "/mnt/models");
  EXPECT_EQ(kube::text_at(t->pod, "spec.containers.0.volumeMounts.0.mountPath"), "/mnt/models");
  EXPECT_EQ(kube::int_at(t->pod, "spec.containers.0.readinessProbe.tcpSocket.port"), 9090);

  auto transformer = obj(R"({"containers":[{"image":"python:3.11","command":["python","t.py"]}]})");
  auto x = pod_template({isvc, Component::transformer, transformer, nullptr, {}});
  ASSERT_TRUE(x);
  EXPECT_EQ(json::serialize(kube::Value(kube::array_at(x->pod, "spec.containers.0.args"))),
            R"(["--model_name","m","--predictor_host","m-predictor.ns","--http_port","8080"])");
}

TEST(IsvcTemplate, RefusesWhatCannotBeServed) {
  auto isvc = obj(R"({"metadata":{"name":"m","namespace":"ns"}})");
  EXPECT_EQ(pod_template({isvc, Component::predictor, obj(R"({"containers":[]})"), nullptr, {}}).error().reason,
            "InvalidPredictorSpec");
  auto bad = seed_isvc();
  kube::ensure(bad, "spec.predictor.model")["storageUri"] = "ftp://x/y";
  auto choice = choose_runtime(kube::object_at(bad, "spec.predictor.model"), {}, published());
  auto t = pod_template({bad, Component::predictor, kube::object_at(bad, "spec.predictor"), &*choice, {}});
  ASSERT_FALSE(t);
  EXPECT_NE(t.error().message.find("StorageUri [ftp://x/y] is not supported"), std::string::npos) << t.error().message;
}

TEST(IsvcTemplate, AStorageKeyNamesABucketOfTheStorageConfig) {
  auto isvc = seed_isvc();
  auto& model = kube::ensure(isvc, "spec.predictor.model");
  model.erase("storageUri");
  model["storage"] = obj(R"({"key":"team","path":"models/a"})");
  CredentialSource c;
  c.storage_config = ptr(R"({"data":{"team":"eyJ0eXBlIjoiczMiLCJidWNrZXQiOiJiIn0="}})");
  auto choice = choose_runtime(model, {}, published());
  auto t = pod_template({isvc, Component::predictor, kube::object_at(isvc, "spec.predictor"), &*choice, c});
  ASSERT_TRUE(t) << t.error().message;
  EXPECT_NE(json::serialize(kube::Value(t->pod)).find("--storage_uri=s3://b/models/a"), std::string::npos);
}

// A revision of a test: ready, failed or on its way.
Revision rev(int n, int ready, bool failed = false) {
  Revision r;
  r.number = n;
  r.name = revision_name("m", Component::predictor, n);
  r.pods = ready > 0 || failed ? std::max(ready, 1) : 0;
  r.ready_pods = ready;
  r.builtin = true;
  if (failed) {
    r.failed_pods = 1;
    r.failure = RevisionFailure{"pod-x", "ModelLoadFailed", "there is no model", "", 1};
  }
  return r;
}

std::string text(const Traffic& t) {
  std::string s;
  for (const auto& x : t.targets)
    s += fmt::format("{}{}={}{}{}", s.empty() ? "" : " ", x.revision.substr(x.revision.size() - 1), x.percent,
                     x.latest ? "L" : "", x.tag.empty() ? "" : "/" + x.tag);
  return s;
}
// The status that the controller would keep of this.
Object kept(const Traffic& t) {
  Object o;
  for (auto [k, v] :
       {std::pair{"latestReadyRevision", &t.latest_ready}, std::pair{"latestRolledoutRevision", &t.latest_rolled_out},
        std::pair{"previousRolledoutRevision", &t.previous_rolled_out}})
    if (!v->empty()) o[k] = *v;
  kube::Array list;
  for (const auto& x : t.targets)
    list.push_back(
        Object{{"revisionName", x.revision}, {"percent", x.percent}, {"latestRevision", x.latest}, {"tag", x.tag}});
  o["traffic"] = list;
  return o;
}

TEST(IsvcTraffic, CanaryPromotionAndRollback) {
  Object status;
  auto t = share_traffic(status, {rev(1, 0)}, std::nullopt);
  EXPECT_EQ(text(t), "");
  t = share_traffic(kept(t), {rev(1, 1)}, 10);  // the first one gets everything
  EXPECT_EQ(text(t), "1=100L");
  EXPECT_EQ(t.latest_rolled_out, "m-predictor-00001");
  t = share_traffic(kept(t), {rev(1, 1), rev(2, 0)}, 10);  // the new one is not ready
  EXPECT_EQ(text(t), "1=100L");
  t = share_traffic(kept(t), {rev(1, 1), rev(2, 1)}, 10);
  EXPECT_EQ(text(t), "2=10L 1=90/prev");
  auto promoted = share_traffic(kept(t), {rev(1, 1), rev(2, 1)}, std::nullopt);
  EXPECT_EQ(text(promoted), "2=100L");
  EXPECT_EQ(promoted.latest_rolled_out, "m-predictor-00002");
  EXPECT_EQ(promoted.previous_rolled_out, "m-predictor-00001");
  auto back = share_traffic(kept(t), {rev(1, 1), rev(2, 1)}, 0);
  EXPECT_EQ(text(back), "2=0L 1=100/prev");
  // After the promotion the old one was scaled down: it is started again before it gets traffic.
  auto waiting = share_traffic(kept(promoted), {rev(1, 0), rev(2, 1)}, 0);
  EXPECT_EQ(text(waiting), "2=100L");
  EXPECT_EQ(waiting.wanted, std::vector<std::string>{"m-predictor-00001"});
  auto rolled = share_traffic(kept(waiting), {rev(1, 1), rev(2, 1)}, 0);
  EXPECT_EQ(text(rolled), "2=0L 1=100/prev");
  EXPECT_EQ(text(share_traffic(kept(rolled), {rev(1, 1), rev(2, 1)}, 0)), "2=0L 1=100/prev");
}

TEST(IsvcTraffic, AFailingRevisionLeavesTrafficWhereItIs) {
  auto t = share_traffic({}, {rev(1, 1)}, std::nullopt);
  t = share_traffic(kept(t), {rev(1, 1), rev(2, 0, true)}, std::nullopt);
  EXPECT_EQ(text(t), "1=100L");
  EXPECT_EQ(t.latest_created, "m-predictor-00002");
  EXPECT_EQ(t.latest_ready, "m-predictor-00001");
}

ComponentState state(std::vector<Revision> revisions, std::optional<int> canary = {}, const Object& before = {}) {
  ComponentState s;
  s.revisions = std::move(revisions);
  s.traffic = share_traffic(before, s.revisions, canary);
  return s;
}
Object isvc() {
  return obj(R"({"apiVersion":"serving.kserve.io/v1beta1","kind":"InferenceService",
    "metadata":{"name":"m","namespace":"ns","uid":"u","generation":3},"spec":{"predictor":{"timeout":7}}})");
}
std::string cond(const Object& status, std::string_view type) {
  for (const auto& c : kube::array_at(status, "conditions"))
    if (kube::text_at(c.get_object(), "type") == type) return std::string(kube::text_at(c.get_object(), "status"));
  return "";
}

TEST(IsvcStatus, AReadyServiceAsKServeShowsIt) {
  auto o = isvc();
  std::vector<ComponentState> c{state({rev(1, 1)})};
  RuntimeChoice rt{"kserve-mlserver", true, {}, "v2"};
  auto s = isvc_status({o, c, &rt, {}, false});
  EXPECT_EQ(kube::text_at(s, "url"), "http://m-ns.example.com");
  EXPECT_EQ(kube::text_at(s, "address.url"), "http://m.ns.svc.cluster.local");
  EXPECT_EQ(kube::text_at(s, "clusterServingRuntimeName"), "kserve-mlserver");
  EXPECT_EQ(kube::text_at(s, "deploymentMode"), "Knative");
  EXPECT_EQ(kube::int_at(s, "observedGeneration"), 3);
  EXPECT_EQ(kube::text_at(s, "components.predictor.url"), "http://m-predictor-ns.example.com");
  EXPECT_EQ(kube::text_at(s, "components.predictor.latestReadyRevision"), "m-predictor-00001");
  EXPECT_TRUE(kube::bool_at(s, "components.predictor.traffic.0.latestRevision"));
  EXPECT_EQ(kube::int_at(s, "components.predictor.traffic.0.percent"), 100);
  EXPECT_EQ(kube::text_at(s, "modelStatus.transitionStatus"), "UpToDate");
  EXPECT_EQ(kube::text_at(s, "modelStatus.states.activeModelState"), "Loaded");
  EXPECT_EQ(kube::int_at(s, "modelStatus.copies.totalCopies"), 1);
  std::string order;
  for (const auto& x : kube::array_at(s, "conditions"))
    order += std::string(kube::text_at(x.get_object(), "type")) + " ";
  EXPECT_EQ(order,
            "IngressReady LatestDeploymentReady PredictorConfigurationReady PredictorReady PredictorRouteReady Ready "
            "RoutesReady Stopped ");
  for (const auto* type : {"Ready", "PredictorReady", "IngressReady"}) EXPECT_EQ(cond(s, type), "True") << type;
  // Nothing changed: the very same document, times included.
  o["status"] = s;
  EXPECT_EQ(isvc_status({o, c, &rt, {}, false}), s);
}

TEST(IsvcStatus, WaitingFailingAndRefused) {
  auto o = isvc();
  std::vector<ComponentState> waiting{state({rev(1, 0)})};
  auto s = isvc_status({o, waiting, nullptr, {}, false});
  EXPECT_EQ(cond(s, "Ready"), "False");
  EXPECT_EQ(cond(s, "PredictorReady"), "Unknown");
  EXPECT_EQ(kube::text_at(s, "modelStatus.transitionStatus"), "InProgress");
  EXPECT_EQ(kube::at(s, "url"), nullptr);

  std::vector<ComponentState> failed{state({rev(1, 0, true)})};
  s = isvc_status({o, failed, nullptr, {}, false});
  EXPECT_EQ(cond(s, "PredictorReady"), "False");
  EXPECT_EQ(kube::text_at(s, "modelStatus.transitionStatus"), "BlockedByFailedLoad");
  EXPECT_EQ(kube::text_at(s, "modelStatus.lastFailureInfo.reason"), "ModelLoadFailed");
  EXPECT_EQ(kube::text_at(s, "modelStatus.lastFailureInfo.message"), "there is no model");
  EXPECT_EQ(kube::int_at(s, "modelStatus.lastFailureInfo.exitCode"), 1);

  std::vector<ComponentState> refused(1);
  refused[0].refusal = RuntimeRefusal{"NoSupportingRuntime", "none"};
  s = isvc_status({o, refused, nullptr, {}, false});
  EXPECT_EQ(cond(s, "Ready"), "False");
  EXPECT_EQ(kube::text_at(s, "modelStatus.transitionStatus"), "InvalidSpec");
  EXPECT_EQ(kube::text_at(s, "modelStatus.states.targetModelState"), "FailedToLoad");

  // A new revision that fails beside one that serves: still ready, and the failure is told.
  auto before = kept(share_traffic({}, {rev(1, 1)}, std::nullopt));
  std::vector<ComponentState> beside{state({rev(1, 1), rev(2, 0, true)}, std::nullopt, before)};
  s = isvc_status({o, beside, nullptr, {}, false});
  EXPECT_EQ(cond(s, "Ready"), "True");
  EXPECT_EQ(cond(s, "PredictorConfigurationReady"), "False");
  EXPECT_EQ(kube::text_at(s, "modelStatus.states.activeModelState"), "Loaded");
  EXPECT_EQ(kube::text_at(s, "modelStatus.states.targetModelState"), "FailedToLoad");

  s = isvc_status({o, beside, nullptr, {}, true});
  EXPECT_EQ(cond(s, "Stopped"), "True");
  EXPECT_EQ(cond(s, "Ready"), "False");
}

TEST(IsvcRouting, HostsPathsAndWeights) {
  auto o = isvc();
  auto before = kept(share_traffic({}, {rev(1, 1)}, std::nullopt));
  std::vector<ComponentState> c{state({rev(1, 1), rev(2, 1)}, 20, before)};
  RoutingOptions options;
  options.gateway_address = "127.0.0.1";
  options.gateway_port = 18080;
  auto routes = virtual_services(o, c, options);
  ASSERT_EQ(routes.size(), 4U);  // host, path, component, tag
  EXPECT_EQ(kube::text_at(routes[0], "spec.hosts.0"), "m-ns.example.com");
  EXPECT_EQ(kube::text_at(routes[0], "spec.http.0.timeout"), "7s");
  EXPECT_EQ(kube::int_at(routes[0], "spec.http.0.route.0.weight"), 20);
  EXPECT_EQ(kube::text_at(routes[0], "spec.http.0.route.1.destination.host"), "m-predictor-00001.ns.svc.cluster.local");
  EXPECT_EQ(kube::text_at(routes[1], "spec.http.0.match.0.uri.prefix"), "/serving/ns/m/");
  EXPECT_EQ(kube::text_at(routes[1], "spec.http.0.rewrite.uri"), "/");
  EXPECT_EQ(kube::text_at(routes[3], "spec.hosts.0"), "prev-m-predictor-ns.example.com");
  auto services = name_services(o, c, options);
  ASSERT_EQ(services.size(), 4U);  // two Services without a selector, two Endpoints that lead to the gateway
  EXPECT_EQ(kube::kind_of(services[1]), "Endpoints");
  EXPECT_EQ(kube::int_at(services[1], "subsets.0.ports.0.port"), 18080);

  std::vector<ComponentState> one{state({rev(1, 1)})};
  services = name_services(o, one, options);
  ASSERT_EQ(services.size(), 2U);
  EXPECT_EQ(kube::object_at(services[0], "spec.selector").at("serving.knative.dev/revision"), "m-predictor-00001");
  EXPECT_EQ(kube::int_at(services[0], "spec.ports.0.targetPort"), 8012);
  auto list = revision_services(o, Component::predictor, one[0].revisions[0]);
  EXPECT_EQ(kube::name_of(list[1]), "m-predictor-00001-private");
  EXPECT_EQ(kube::int_at(list[1], "spec.ports.1.port"), 8012);
}

TEST(IsvcRouting, NamesInsideLeadToTheGatewayWherePodsComeWithDemand) {
  auto o = isvc();
  RoutingOptions options;
  options.gateway_address = "127.0.0.1";
  options.gateway_port = 18080;
  auto sleeping = rev(1, 0);
  sleeping.grpc_port = 8081;
  EXPECT_FALSE(sleeping.ready());
  sleeping.on_demand = true;
  EXPECT_TRUE(sleeping.ready());
  std::vector<ComponentState> c{state({sleeping})};
  c[0].on_demand = true;
  EXPECT_TRUE(c[0].serves());
  auto services = name_services(o, c, options);
  ASSERT_EQ(services.size(), 4U);
  EXPECT_EQ(kube::at(services[0], "spec.selector"), nullptr);
  EXPECT_EQ(kube::int_at(services[0], "spec.ports.1.port"), kGrpcPort);
  EXPECT_EQ(kube::text_at(services[1], "subsets.0.ports.1.name"), "grpc");
  EXPECT_EQ(kube::int_at(services[1], "subsets.0.ports.1.port"), 18080);
  auto s = isvc_status({o, c, nullptr, {}, false});
  EXPECT_EQ(kube::text_at(s, "modelStatus.transitionStatus"), "UpToDate");
  EXPECT_EQ(kube::int_at(s, "modelStatus.copies.totalCopies", -1), 0);
  // A pod that was asked for and cannot serve takes that away.
  sleeping.failure.emplace();
  EXPECT_FALSE(sleeping.ready());
}

TEST(IsvcRevisions, AreReadFromDeploymentsAndPods) {
  auto o = seed_isvc();
  auto t = seed_template(o);
  auto d1 = ptr(revision_deployment(o, Component::predictor, 1, t, 1));
  auto d2 = ptr(revision_deployment(o, Component::predictor, 2, t, 1));
  auto pod =
      ptr(R"({"metadata":{"name":"p","labels":{"serving.knative.dev/revision":"bankchurn-model-predictor-00002"}},
    "status":{"phase":"Running","containerStatuses":[{"name":"kserve-container","ready":false,"restartCount":1,
      "state":{"waiting":{"reason":"CrashLoopBackOff"}},
      "lastState":{"terminated":{"exitCode":1,"message":"Copying\nFailed to fetch model. No model found in x.\n"}}}]}})");
  auto r = revisions_of(Component::predictor, {d2, d1}, {pod});
  ASSERT_EQ(r.size(), 2U);
  EXPECT_EQ(r[0].name, "bankchurn-model-predictor-00001");
  EXPECT_EQ(r[1].hash, t.hash);
  EXPECT_EQ(r[1].port, 8080);
  ASSERT_TRUE(r[1].failure);
  EXPECT_EQ(r[1].failure->message, "Failed to fetch model. No model found in x.");
  EXPECT_EQ(kube::name_of(*d1), "bankchurn-model-predictor-00001-deployment");
  auto image =
      ptr(R"({"metadata":{"name":"q","labels":{"serving.knative.dev/revision":"bankchurn-model-predictor-00001"}},
    "status":{"phase":"Pending","containerStatuses":[{"name":"kserve-container","state":{"waiting":
      {"reason":"ImagePullBackOff","message":"no runtime"}}}]}})");
  EXPECT_EQ(revisions_of(Component::predictor, {d1}, {image})[0].failure->reason, "RuntimeUnhealthy");
}

TEST(OwnedObjects, CoverComparesOnlyWhatIsWanted) {
  auto have = kube::Value(obj(R"({"a":{"b":1,"c":2},"l":[{"x":1,"y":2}]})"));
  EXPECT_TRUE(covers(have, obj(R"({"a":{"b":1},"l":[{"x":1}]})")));
  EXPECT_TRUE(covers(have, obj(R"({"a":{"b":1.0}})")));
  EXPECT_FALSE(covers(have, obj(R"({"a":{"b":2}})")));
  EXPECT_FALSE(covers(have, obj(R"({"l":[]})")));
  EXPECT_FALSE(covers(have, obj(R"({"z":null})")));
}

TEST(Storage, SaysWhatIsNotThere) {
  std::atomic<bool> stop = false;
  StorageOptions o;
  S3Access seen;
  o.resolve = [](const std::string& host, int port) {
    return host == "minio-service.kubeflow.svc.cluster.local" && port == 9000 ? "127.64.0.9:9000" : "";
  };
  o.bucket = [&](const S3Access& a, const std::string& bucket, const std::string& prefix, const std::string&,
                 const std::atomic<bool>&) -> Result<std::size_t> {
    seen = a;
    EXPECT_EQ(bucket + "|" + prefix, "b|k/model");
    return 0U;
  };
  auto r = fetch_storage(
      o, "s3://b/k/model/",
      {{"AWS_ENDPOINT_URL", "http://minio-service.kubeflow.svc.cluster.local:9000"}, {"AWS_ACCESS_KEY_ID", "minio"}},
      "/nowhere", stop);
  ASSERT_FALSE(r);
  EXPECT_EQ(r.error().message, "Failed to fetch model. No model found in k/model.");
  EXPECT_EQ(seen.endpoint, "http://127.64.0.9:9000");
  EXPECT_EQ(seen.access_key, "minio");
  EXPECT_EQ(fetch_storage(o, "/no/such/folder", {}, "/nowhere", stop).error().message,
            "Local path /no/such/folder does not exist.");
  EXPECT_FALSE(fetch_storage(o, "hf://x/y", {}, "/nowhere", stop));
  EXPECT_FALSE(check_storage_uri("ftp://x"));
}

}  // namespace
}  // namespace mr::serving
