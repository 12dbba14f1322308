// The status of an InferenceService as KServe writes it, from what its components are. Pure functions of their
// arguments.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "serving/controller/revisions.h"

namespace mr::serving {

// Where services are reached from outside.
struct UrlOptions {
  std::string domain = "example.com";
  std::string scheme = "http";
};

struct ComponentState {
  Component component = Component::predictor;
  std::vector<Revision> revisions;
  Traffic traffic;
  std::optional<RuntimeRefusal> refusal;
  bool on_demand = false;  // its requests are counted, and wait for pods: its names inside lead to the gateway too
  std::string note;        // what is not as the spec wants it, for the condition's message
  // Every revision that traffic goes to has a ready pod.
  [[nodiscard]] bool serves() const;
  [[nodiscard]] const Revision* latest() const { return revisions.empty() ? nullptr : &revisions.back(); }
};

bool cluster_local(const kube::Object& isvc);
// Host names: "NAME-NS.DOMAIN" and "NAME-COMPONENT-NS.DOMAIN".
std::string outside_host(const kube::Object& isvc, const UrlOptions& o);
std::string component_host(const kube::Object& isvc, Component c, const UrlOptions& o);

struct StatusInput {
  const kube::Object& isvc;
  const std::vector<ComponentState>& components;
  const RuntimeChoice* runtime = nullptr;
  UrlOptions urls;
  bool stopped = false;
};
// The whole status; conditions keep their lastTransitionTime where their status did not change.
kube::Object isvc_status(const StatusInput& in);

// One condition of a list, in the order of types; `severity` "Info" for those that do not decide.
struct Condition {
  std::string type, status = "Unknown", reason, message, severity;
};
kube::Array conditions_of(std::vector<Condition> conditions, const kube::Array& before);

}  // namespace mr::serving
