// What an InferenceService's component becomes: a pod template, revisions of it (Deployments) and their Services, and
// how traffic is shared between revisions. Pure functions of their arguments.
#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "kube/object.h"
#include "serving/controller/runtimes.h"

namespace mr::serving {

enum class Component : std::uint8_t { predictor, transformer, explainer };
std::string_view component_name(Component c);
inline constexpr int kGrpcPort = 8081;  // of Services
// On a Deployment: its pods come when they are asked for.
inline constexpr std::string_view kOnDemand = "serving.millrace.io/on-demand";

// The credentials of a service account as KServe injects them: variables for the container that fetches the model.
struct CredentialSource {
  kube::ObjectPtr service_account;       // may be null
  std::vector<kube::ObjectPtr> secrets;  // those that it lists and that exist
  kube::ObjectPtr storage_config;        // the secret `storage-config` of the namespace, or null
};
kube::Array credential_env(const CredentialSource& from);

struct TemplateInput {
  const kube::Object& isvc;
  Component component;
  kube::Object spec;                       // of the component, normal form (see normal_predictor)
  const RuntimeChoice* runtime = nullptr;  // of a predictor with `model`
  CredentialSource credentials;
};
struct Template {
  kube::Object pod;        // {metadata:{labels,annotations}, spec}: what a Deployment's template gets
  std::string hash;        // of everything that makes a new revision
  int port = 8080;         // of kserve-container
  bool builtin = false;    // the predictor inside this program
  std::string model_name;  // as served
};
// `reason` as in RuntimeRefusal.
std::expected<Template, RuntimeRefusal> pod_template(const TemplateInput& in);

struct RevisionFailure {
  std::string pod, reason, message, time;
  std::int64_t exit_code = 0;
  bool waiting = false;  // the container has not started
};

// One revision: a Deployment `NAME-COMPONENT-00001-deployment`.
struct Revision {
  std::string name;  // NAME-COMPONENT-00001
  int number = 0;
  std::string hash;
  kube::ObjectPtr deployment;
  int port = 8080;
  int grpc_port = 0;  // 0: none
  bool builtin = false;
  // From its pods.
  int pods = 0, ready_pods = 0, failed_pods = 0;
  bool on_demand = false;  // it has served, and its pods come when they are asked for
  bool ready() const { return ready_pods > 0 || (on_demand && !failure); }
  std::optional<RevisionFailure> failure;
};
std::string revision_name(std::string_view isvc, Component c, int number);
// The revisions among `deployments`, oldest first, with what `pods` (of the whole InferenceService) say of them.
std::vector<Revision> revisions_of(Component c, const std::vector<kube::ObjectPtr>& deployments,
                                   const std::vector<kube::ObjectPtr>& pods);

// The Deployment and the two Services of a revision.
kube::Object revision_deployment(const kube::Object& isvc, Component c, int number, const Template& t, int replicas);
std::vector<kube::Object> revision_services(const kube::Object& isvc, Component c, const Revision& r);

// The traffic of a component: what it was (status.components.x), what may be now.
struct Traffic {
  struct Target {
    std::string revision;
    int percent = 100;
    bool latest = false;
    std::string tag;
  };
  std::vector<Target> targets;  // empty: nothing is ready yet
  std::string latest_created, latest_ready, latest_rolled_out, previous_rolled_out;
  // The revision that gets copies of so many per cent of the requests, whose answers nobody sees; empty: none.
  std::string shadow;
  int shadow_percent = 0;
  // Revisions that should run although they have no traffic yet (a rollback's target that was scaled down).
  std::vector<std::string> wanted;
};
// On an InferenceService: per cent of the predictor's requests that its newest revision gets copies of while another
// one answers.
inline constexpr std::string_view kShadowPercent = "serving.millrace.io/shadow-traffic-percent";
// Sets the traffic's shadow as the annotation wants it.
void add_shadow(const kube::Object& isvc, Traffic& t);
Traffic share_traffic(const kube::Object& component_status, const std::vector<Revision>& revisions,
                      std::optional<int> canary_percent);

}  // namespace mr::serving
