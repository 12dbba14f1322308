#include "serving/controller/revisions.h"

#include <fmt/format.h>

#include <algorithm>

#include "serving/controller/agent.h"
#include "serving/predictor.h"
#include "text/text.h"

namespace mr::serving {

using kube::Array;
using kube::Object;
using kube::ObjectPtr;

namespace {

constexpr std::string_view kHash = "serving.millrace.io/template-hash";
constexpr std::string_view kRevision = "serving.knative.dev/revision";
constexpr std::string_view kGeneration = "serving.knative.dev/configurationGeneration";

Object revision_labels(const Object& isvc, Component c, const std::string& revision, int number) {
  auto config = fmt::format("{}-{}", kube::name_of(isvc), component_name(c));
  return {{"app", revision},
          {"component", component_name(c)},
          {"serving.kserve.io/inferenceservice", kube::name_of(isvc)},
          {"serving.knative.dev/configuration", config},
          {std::string(kGeneration), std::to_string(number)},
          {std::string(kRevision), revision},
          {"serving.knative.dev/service", config}};
}

const Object* serving_container(const Object& deployment) {
  for (const auto& c : kube::array_at(deployment, "spec.template.spec.containers"))
    if (c.is_object() && kube::text_at(c.get_object(), "name") == "kserve-container") return &c.get_object();
  return nullptr;
}

// Our own predictor's; of other images the port that is named so, as KServe wants it.
int grpc_port_of(const Object& container, bool builtin) {
  if (builtin) {
    auto given = text::to_u64(argument(container, "grpc_port"));
    return given && *given < 65536 ? static_cast<int>(*given) : 8081;
  }
  for (const auto& p : kube::array_at(container, "ports")) {
    if (!p.is_object()) continue;
    auto name = kube::text_at(p.get_object(), "name");
    if (name.starts_with("h2c") || name.starts_with("grpc"))
      return static_cast<int>(kube::int_at(p.get_object(), "containerPort"));
  }
  return 0;
}

// Requests go to the agent first, where there is one.
bool has_agent(const Object& deployment) {
  const auto& all = kube::array_at(deployment, "spec.template.spec.containers");
  return std::any_of(all.begin(), all.end(), [](const kube::Value& c) {
    return c.is_object() && kube::text_at(c.get_object(), "image") == kAgentImage;
  });
}

std::string last_line(std::string_view text) {
  text = text::trim(text);
  auto at = text.rfind('\n');
  return std::string(at == std::string_view::npos ? text : text::trim(text.substr(at + 1)));
}

// Waiting reasons that are a failure, not a step on the way.
bool is_trouble(std::string_view reason) {
  static constexpr std::string_view kTrouble[] = {"CrashLoopBackOff",
                                                  "ErrImagePull",
                                                  "ImagePullBackOff",
                                                  "InvalidImageName",
                                                  "CreateContainerConfigError",
                                                  "CreateContainerError",
                                                  "RunContainerError",
                                                  "ErrImageNeverPull",
                                                  "StartError"};
  return std::find(std::begin(kTrouble), std::end(kTrouble), reason) != std::end(kTrouble);
}

// What a container's status says of a failure.
std::optional<RevisionFailure> failure_of(const Object& pod, const Object& status, bool builtin) {
  RevisionFailure f;
  f.pod = kube::name_of(pod);
  const Object* ended = nullptr;
  if (const auto& t = kube::object_at(status, "state.terminated"); !t.empty() && kube::int_at(t, "exitCode") != 0)
    ended = &t;
  auto waiting = kube::text_at(status, "state.waiting.reason");
  const auto& last = kube::object_at(status, "lastState.terminated");
  if (ended == nullptr && !last.empty() && kube::int_at(last, "exitCode") != 0 && waiting == "CrashLoopBackOff")
    ended = &last;
  if (ended != nullptr) {
    f.reason = "ModelLoadFailed";
    f.exit_code = kube::int_at(*ended, "exitCode");
    f.message = kube::text_at(*ended, "message");
    if (builtin) f.message = last_line(f.message);
    if (f.message.empty()) f.message = kube::text_at(*ended, "reason");
    f.time = kube::text_at(*ended, "finishedAt");
    return f;
  }
  if (!is_trouble(waiting)) return std::nullopt;
  f.reason = "RuntimeUnhealthy";
  f.message = kube::text_at(status, "state.waiting.message");
  if (f.message.empty()) f.message = waiting;
  f.waiting = true;
  return f;
}

int percent_of(const Object& target) { return static_cast<int>(kube::int_at(target, "percent")); }

}  // namespace

std::string revision_name(std::string_view isvc, Component c, int number) {
  return fmt::format("{}-{}-{:05}", isvc, component_name(c), number);
}

std::vector<Revision> revisions_of(Component c, const std::vector<ObjectPtr>& deployments,
                                   const std::vector<ObjectPtr>& pods) {
  std::vector<Revision> out;
  for (const auto& d : deployments) {
    if (kube::label(*d, "component") != component_name(c) || kube::deleting(*d)) continue;
    Revision r;
    r.name = kube::label(*d, kRevision);
    r.number = static_cast<int>(text::to_i64(kube::label(*d, kGeneration)).value_or(0));
    r.hash = kube::annotation(*d, kHash);
    r.on_demand = kube::annotation(*d, kOnDemand) == "true";
    r.deployment = d;
    if (r.name.empty() || r.number <= 0) continue;
    if (const auto* container = serving_container(*d)) {
      r.builtin = image_is(kube::text_at(*container, "image"), kPredictorImage);
      const auto& ports = kube::array_at(*container, "ports");
      if (!ports.empty() && ports[0].is_object())
        r.port = static_cast<int>(kube::int_at(ports[0].get_object(), "containerPort", 8080));
      if (has_agent(*d)) r.port = kAgentPort;
      r.grpc_port = grpc_port_of(*container, r.builtin);
    }
    out.push_back(std::move(r));
  }
  std::sort(out.begin(), out.end(), [](const Revision& a, const Revision& b) { return a.number < b.number; });
  for (const auto& pod : pods) {
    auto revision = kube::label(*pod, kRevision);
    auto r = std::find_if(out.begin(), out.end(), [&](const Revision& x) { return x.name == revision; });
    if (r == out.end() || kube::deleting(*pod)) continue;
    auto phase = kube::text_at(*pod, "status.phase");
    if (phase == "Succeeded") continue;
    ++r->pods;
    const auto* ready = kube::condition(*pod, "Ready");
    if (ready != nullptr && kube::text_at(*ready, "status") == "True") {
      ++r->ready_pods;
      continue;
    }
    std::optional<RevisionFailure> failure;
    for (const char* list : {"status.initContainerStatuses", "status.containerStatuses"})
      for (const auto& s : kube::array_at(*pod, list))
        if (s.is_object() && !failure)
          failure = failure_of(*pod, s.get_object(),
                               r->builtin || kube::text_at(s.get_object(), "name") == "storage-initializer");
    if (!failure && phase == "Failed") {
      failure.emplace();
      failure->pod = kube::name_of(*pod);
      failure->reason = "RuntimeUnhealthy";
      failure->message = kube::text_at(*pod, "status.message", "the pod failed");
    }
    if (failure) {
      ++r->failed_pods;
      r->failure = std::move(failure);
    }
  }
  return out;
}

Object revision_deployment(const Object& isvc, Component c, int number, const Template& t, int replicas) {
  auto revision = revision_name(kube::name_of(isvc), c, number);
  auto d = kube::make_object("apps/v1", "Deployment", kube::namespace_of(isvc), revision + "-deployment");
  auto labels = revision_labels(isvc, c, revision, number);
  auto& meta = kube::metadata(d);
  meta["labels"] = labels;
  meta["annotations"] = Object{{std::string(kHash), t.hash}};
  meta["ownerReferences"] = Array{kube::owner_reference(isvc)};
  auto& spec = kube::ensure(d, "spec");
  spec["replicas"] = replicas;
  spec["progressDeadlineSeconds"] = 600;
  spec["selector"] = Object{{"matchLabels", Object{{std::string(kRevision), revision}}}};
  Object pod = t.pod;
  auto& pod_labels = kube::ensure(pod, "metadata.labels");
  for (const auto& [k, v] : labels) pod_labels[k] = v;
  spec["template"] = std::move(pod);
  return d;
}

std::vector<Object> revision_services(const Object& isvc, Component c, const Revision& r) {
  std::vector<Object> out;
  auto queue = r.builtin ? 8012 : r.port;
  for (bool is_private : {false, true}) {
    auto s = kube::make_object("v1", "Service", kube::namespace_of(isvc), r.name + (is_private ? "-private" : ""));
    auto& meta = kube::metadata(s);
    meta["labels"] = revision_labels(isvc, c, r.name, r.number);
    meta["labels"].as_object()["networking.internal.knative.dev/serviceType"] = is_private ? "Private" : "Public";
    meta["ownerReferences"] = Array{kube::owner_reference(isvc)};
    Array ports{Object{{"name", "http"}, {"port", 80}, {"protocol", "TCP"}, {"targetPort", queue}}};
    if (is_private)
      ports.push_back(Object{{"name", "http-istio"}, {"port", 8012}, {"protocol", "TCP"}, {"targetPort", queue}});
    if (r.grpc_port != 0)
      ports.push_back(Object{{"name", "grpc"}, {"port", kGrpcPort}, {"protocol", "TCP"}, {"targetPort", r.grpc_port}});
    auto& spec = kube::ensure(s, "spec");
    spec["type"] = "ClusterIP";
    spec["selector"] = Object{{std::string(kRevision), r.name}};
    spec["ports"] = std::move(ports);
    out.push_back(std::move(s));
  }
  return out;
}

void add_shadow(const Object& isvc, Traffic& t) {
  auto percent = text::to_i64(kube::annotation(isvc, kShadowPercent)).value_or(0);
  const bool answered_elsewhere = std::ranges::any_of(
      t.targets, [&](const Traffic::Target& to) { return to.percent > 0 && to.revision != t.latest_ready; });
  if (percent <= 0 || percent > 100 || t.latest_ready.empty() || !answered_elsewhere) return;
  t.shadow = t.latest_ready;
  t.shadow_percent = static_cast<int>(percent);
}

Traffic share_traffic(const Object& status, const std::vector<Revision>& revisions, std::optional<int> canary) {
  Traffic t;
  t.latest_ready = kube::text_at(status, "latestReadyRevision");
  t.latest_rolled_out = kube::text_at(status, "latestRolledoutRevision");
  t.previous_rolled_out = kube::text_at(status, "previousRolledoutRevision");
  auto find = [&](std::string_view name) -> const Revision* {
    for (const auto& r : revisions)
      if (r.name == name) return &r;
    return nullptr;
  };
  if (revisions.empty()) return t;
  t.latest_created = revisions.back().name;
  if (revisions.back().ready()) {
    t.latest_ready = revisions.back().name;
  } else if (find(t.latest_ready) == nullptr) {
    t.latest_ready.clear();
    for (const auto& r : revisions)
      if (r.ready()) t.latest_ready = r.name;
  }
  if (find(t.latest_rolled_out) == nullptr) t.latest_rolled_out.clear();
  if (find(t.previous_rolled_out) == nullptr) t.previous_rolled_out.clear();
  if (t.latest_ready.empty()) return t;

  int share = canary ? std::clamp(*canary, 0, 100) : 100;
  std::string stable;
  if (share < 100 && !t.latest_rolled_out.empty()) {
    stable = t.latest_rolled_out;
    // The latest is what is rolled out already: a share below 100 takes it back to the one before.
    if (stable == t.latest_ready)
      stable =
          t.latest_ready == t.latest_created && t.previous_rolled_out != t.latest_ready ? t.previous_rolled_out : "";
  }
  if (stable.empty()) {
    t.targets.push_back({t.latest_ready, 100, true, {}});
    const auto* latest = find(t.latest_ready);
    if (t.latest_rolled_out != t.latest_ready && latest != nullptr && latest->ready()) {
      t.previous_rolled_out = t.latest_rolled_out;
      t.latest_rolled_out = t.latest_ready;
    }
    return t;
  }
  if (!find(stable)->ready()) {
    // It was scaled down: traffic stays where it is until it runs again.
    t.wanted.push_back(stable);
    for (const auto& v : kube::array_at(status, "traffic")) {
      if (!v.is_object()) continue;
      const auto& o = v.get_object();
      std::string name(kube::text_at(o, "revisionName"));
      if (find(name) != nullptr)
        t.targets.push_back(
            {name, percent_of(o), kube::bool_at(o, "latestRevision"), std::string(kube::text_at(o, "tag"))});
    }
    if (t.targets.empty()) t.targets.push_back({t.latest_ready, 100, true, {}});
    return t;
  }
  t.latest_rolled_out = stable;
  t.targets.push_back({t.latest_ready, share, true, {}});
  t.targets.push_back({stable, 100 - share, false, "prev"});
  return t;
}

}  // namespace mr::serving
