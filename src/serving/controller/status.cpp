#include "serving/controller/status.h"

#include <fmt/format.h>

#include <algorithm>

namespace mr::serving {

using kube::Array;
using kube::Object;

namespace {

std::string title(Component c) {
  std::string s(component_name(c));
  s[0] = static_cast<char>(s[0] - 'a' + 'A');
  return s;
}

std::string inside_url(const Object& isvc, std::string_view service) {
  return fmt::format("http://{}.{}.svc.cluster.local", service, kube::namespace_of(isvc));
}

const char* deployment_mode(const Object& isvc) {
  auto mode = kube::annotation(isvc, "serving.kserve.io/deploymentMode");
  return mode == "RawDeployment" || mode == "Standard" ? "Standard" : "Knative";
}

Object component_status(const StatusInput& in, const ComponentState& c) {
  Object out = kube::object_at(in.isvc, fmt::format("status.components.{}", component_name(c.component)));
  const auto& t = c.traffic;
  auto set = [&](std::string_view key, const std::string& v) {
    if (v.empty())
      out.erase(key);
    else
      out[key] = v;
  };
  set("latestCreatedRevision", t.latest_created);
  set("latestReadyRevision", t.latest_ready);
  set("latestRolledoutRevision", t.latest_rolled_out);
  set("previousRolledoutRevision", t.previous_rolled_out);
  out.erase("traffic");
  if (t.targets.empty()) return out;
  bool tags = kube::annotation(in.isvc, "serving.kserve.io/enable-tag-routing") == "true";
  Array traffic;
  for (const auto& target : t.targets) {
    Object e{{"latestRevision", target.latest}, {"percent", target.percent}, {"revisionName", target.revision}};
    auto tag = target.tag.empty() && target.latest && tags ? std::string("latest") : target.tag;
    if (!tag.empty()) {
      e["tag"] = tag;
      e["url"] = fmt::format("{}://{}-{}", in.urls.scheme, tag, component_host(in.isvc, c.component, in.urls));
    }
    traffic.push_back(std::move(e));
  }
  out["traffic"] = std::move(traffic);
  auto service = fmt::format("{}-{}", kube::name_of(in.isvc), component_name(c.component));
  out["address"] = Object{{"url", inside_url(in.isvc, service)}};
  out["url"] = cluster_local(in.isvc)
                   ? inside_url(in.isvc, service)
                   : fmt::format("{}://{}", in.urls.scheme, component_host(in.isvc, c.component, in.urls));
  return out;
}

std::string failure_text(const ComponentState& c) {
  const auto* latest = c.latest();
  if (latest == nullptr || !latest->failure) return {};
  return fmt::format("Revision \"{}\" failed with message: {}.", latest->name, latest->failure->message);
}

// The conditions of one component: the deciding one first.
void component_conditions(const ComponentState& c, std::vector<Condition>& out) {
  auto name = title(c.component);
  Condition ready{name + "Ready"}, configuration{name + "ConfigurationReady"}, route{name + "RouteReady"};
  configuration.severity = route.severity = "Info";
  const auto* latest = c.latest();
  if (c.refusal) {
    configuration.status = "False";
    configuration.reason = c.refusal->reason;
    configuration.message = c.refusal->message;
  } else if (latest != nullptr && (latest->ready() || c.traffic.latest_ready == latest->name)) {
    configuration.status = "True";
    configuration.message = c.note;
  } else if (latest != nullptr && latest->failure) {
    configuration.status = "False";
    configuration.reason = "RevisionFailed";
    configuration.message = failure_text(c);
  } else {
    configuration.reason = "Deploying";
    configuration.message = latest == nullptr ? "The revision has not been created yet."
                                              : fmt::format("Revision \"{}\" is being started.", latest->name);
  }
  if (c.serves()) {
    route.status = "True";
  } else if (!c.traffic.targets.empty()) {
    route.reason = "RevisionMissing";
    route.message = fmt::format("Revision \"{}\" has no ready pod.", c.traffic.targets.front().revision);
  } else {
    route.status = configuration.status == "False" ? "False" : "Unknown";
    route.reason = "RevisionMissing";
    route.message = configuration.status == "False" ? configuration.message
                                                    : "The component has no revision that is ready to receive traffic.";
  }
  // What is served decides; a revision that fails beside it is told by its own condition and by modelStatus.
  if (c.serves()) {
    ready.status = c.refusal ? "False" : "True";
    if (c.refusal) ready.reason = configuration.reason, ready.message = configuration.message;
  } else {
    const auto& why = configuration.status == "True" ? route : configuration;
    ready.status = why.status == "True" ? "Unknown" : why.status;
    ready.reason = why.reason;
    ready.message = why.message;
  }
  out.push_back(std::move(ready));
  out.push_back(std::move(configuration));
  out.push_back(std::move(route));
}

Object model_status(const ComponentState& predictor, const Object& before) {
  const auto* latest = predictor.latest();
  bool active = predictor.serves();
  std::string target = "Pending", transition = "InProgress";
  Object out;
  Object copies{{"failedCopies", 0}, {"totalCopies", 0}};
  if (predictor.refusal) {
    transition = "InvalidSpec";
    target = "FailedToLoad";
    out["lastFailureInfo"] = Object{{"message", predictor.refusal->message}, {"reason", predictor.refusal->reason}};
    if (latest != nullptr) copies["totalCopies"] = latest->pods;
  } else if (latest != nullptr) {
    copies["failedCopies"] = latest->failed_pods;
    copies["totalCopies"] = latest->pods;
    if (latest->ready()) {
      transition = "UpToDate";
      target = "Loaded";
    } else if (latest->failure) {
      const auto& f = *latest->failure;
      transition = "BlockedByFailedLoad";
      target = "FailedToLoad";
      Object info{
          {"location", f.pod}, {"message", f.message}, {"modelRevisionName", latest->name}, {"reason", f.reason}};
      if (!f.waiting) info["exitCode"] = f.exit_code;
      if (!f.time.empty()) info["time"] = f.time;
      out["lastFailureInfo"] = std::move(info);
    } else {
      if (latest->pods > 0) target = "Loading";
      // It is tried again: why the last attempt failed stays to be seen.
      if (const auto* info = before.if_contains("lastFailureInfo");
          info != nullptr && info->is_object() &&
          kube::text_at(info->get_object(), "modelRevisionName") == latest->name)
        out["lastFailureInfo"] = *info;
    }
  }
  out["copies"] = std::move(copies);
  out["states"] = Object{{"activeModelState", active ? "Loaded" : ""}, {"targetModelState", target}};
  out["transitionStatus"] = transition;
  return out;
}

}  // namespace

bool ComponentState::serves() const {
  if (traffic.targets.empty()) return false;
  return std::all_of(traffic.targets.begin(), traffic.targets.end(), [&](const Traffic::Target& t) {
    return t.percent == 0 || std::any_of(revisions.begin(), revisions.end(),
                                         [&](const Revision& r) { return r.name == t.revision && r.ready(); });
  });
}

bool cluster_local(const Object& isvc) {
  return kube::label(isvc, "networking.kserve.io/visibility") == "cluster-local" ||
         kube::label(isvc, "networking.knative.dev/visibility") == "cluster-local";
}
std::string outside_host(const Object& isvc, const UrlOptions& o) {
  return fmt::format("{}-{}.{}", kube::name_of(isvc), kube::namespace_of(isvc), o.domain);
}
std::string component_host(const Object& isvc, Component c, const UrlOptions& o) {
  return fmt::format("{}-{}-{}.{}", kube::name_of(isvc), component_name(c), kube::namespace_of(isvc), o.domain);
}

Array conditions_of(std::vector<Condition> conditions, const Array& before) {
  std::sort(conditions.begin(), conditions.end(),
            [](const Condition& a, const Condition& b) { return a.type < b.type; });
  Array out;
  for (const auto& c : conditions) {
    Object o;
    std::string since;
    for (const auto& b : before)
      if (b.is_object() && kube::text_at(b.get_object(), "type") == c.type &&
          kube::text_at(b.get_object(), "status") == c.status)
        since = kube::text_at(b.get_object(), "lastTransitionTime");
    o["lastTransitionTime"] = since.empty() ? kube::now_text() : since;
    if (!c.message.empty()) o["message"] = c.message;
    if (!c.reason.empty()) o["reason"] = c.reason;
    if (!c.severity.empty()) o["severity"] = c.severity;
    o["status"] = c.status;
    o["type"] = c.type;
    out.push_back(std::move(o));
  }
  return out;
}

Object isvc_status(const StatusInput& in) {
  std::vector<Condition> conditions;
  Object components;
  const ComponentState* predictor = nullptr;
  bool all_serve = !in.components.empty();
  for (const auto& c : in.components) {
    component_conditions(c, conditions);
    components[component_name(c.component)] = component_status(in, c);
    if (c.component == Component::predictor) predictor = &c;
    all_serve = all_serve && c.serves();
  }
  Condition ingress{"IngressReady"};
  if (in.stopped) {
    for (auto& c : conditions) c = {c.type, "False", "Stopped", "Service is stopped", c.severity};
    ingress = {"IngressReady", "False", "Stopped", "Service is stopped", ""};
  } else if (all_serve) {
    ingress.status = "True";
  } else {
    ingress.status = "False";
    for (const auto& c : in.components)
      if (!c.serves() && ingress.reason.empty()) ingress.reason = title(c.component) + " ingress not created";
  }
  Condition latest{"LatestDeploymentReady"}, routes{"RoutesReady"};
  latest.severity = routes.severity = "Info";
  latest.status = routes.status = "True";
  Condition ready{"Ready", "True"};
  auto worse = [](Condition& into, const Condition& c) {
    if (c.status == "True" || into.status == "False") return;
    if (into.status == "Unknown" && c.status == "Unknown") return;
    into.status = c.status;
    into.reason = c.reason;
    into.message = c.message;
  };
  for (const auto& c : conditions) {
    if (c.type.ends_with("ConfigurationReady"))
      worse(latest, c);
    else if (c.type.ends_with("RouteReady"))
      worse(routes, c);
    else
      worse(ready, c);
  }
  worse(ready, ingress);
  if (in.stopped) latest.status = routes.status = "False", latest.reason = routes.reason = "Stopped";
  conditions.push_back(ingress);
  conditions.push_back(latest);
  conditions.push_back(routes);
  conditions.push_back(ready);
  conditions.push_back({"Stopped", in.stopped ? "True" : "False", "", "", "Info"});

  Object s = kube::object_at(in.isvc, "status");
  s["components"] = std::move(components);
  s["conditions"] = conditions_of(std::move(conditions), kube::array_at(in.isvc, "status.conditions"));
  s["observedGeneration"] = kube::int_at(in.isvc, "metadata.generation", 1);
  s["deploymentMode"] = deployment_mode(in.isvc);
  s.erase("servingRuntimeName");
  s.erase("clusterServingRuntimeName");
  if (in.runtime != nullptr)
    s[in.runtime->cluster ? "clusterServingRuntimeName" : "servingRuntimeName"] = in.runtime->name;
  if (predictor != nullptr) s["modelStatus"] = model_status(*predictor, kube::object_at(in.isvc, "status.modelStatus"));
  if (in.stopped) {
    s.erase("url");
    s.erase("address");
    s["modelStatus"] = Object{{"copies", Object{{"failedCopies", 0}, {"totalCopies", 0}}},
                              {"states", Object{{"activeModelState", ""}, {"targetModelState", ""}}},
                              {"transitionStatus", "UpToDate"}};
    s["components"] = Object{};
  } else if (all_serve) {
    auto name = std::string(kube::name_of(in.isvc));
    bool standard = s["deploymentMode"] == "Standard";
    s["address"] = Object{{"url", inside_url(in.isvc, standard ? name + "-predictor" : name)}};
    s["url"] = cluster_local(in.isvc) ? inside_url(in.isvc, name)
                                      : fmt::format("{}://{}", in.urls.scheme, outside_host(in.isvc, in.urls));
  }
  return s;
}

}  // namespace mr::serving
