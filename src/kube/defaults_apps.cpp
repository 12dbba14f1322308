// Defaults of workloads (apps, batch, autoscaling, policy) and of the groups with few defaults.
#include <boost/json/array.hpp>

#include "kube/admission_rules.h"
#include "text/text.h"

namespace mr::kube {

namespace {

void defaults_deployment(Object& spec) {
  fallback(spec, "replicas", 1);
  if (!bool_at(spec, "paused")) spec.erase("paused");
  auto& strategy = ensure(spec, "strategy");
  if (text_at(strategy, "type").empty()) strategy["type"] = "RollingUpdate";
  if (text_at(strategy, "type") == "RollingUpdate") {
    auto& rolling = ensure(strategy, "rollingUpdate");
    fallback(rolling, "maxUnavailable", "25%");
    fallback(rolling, "maxSurge", "25%");
  }
  fallback(spec, "revisionHistoryLimit", 10);
  fallback(spec, "progressDeadlineSeconds", 600);
}

void defaults_stateful_set(Object& spec) {
  fallback(spec, "serviceName", "");
  fallback(spec, "podManagementPolicy", "OrderedReady");
  auto& strategy = ensure(spec, "updateStrategy");
  if (text_at(strategy, "type").empty()) {
    strategy["type"] = "RollingUpdate";
    if (!strategy.contains("rollingUpdate")) strategy["rollingUpdate"].emplace_object();
  }
  if (text_at(strategy, "type") == "RollingUpdate")
    if (auto* rolling = child(strategy, "rollingUpdate")) fallback(*rolling, "partition", 0);
  fallback(spec, "replicas", 1);
  fallback(spec, "revisionHistoryLimit", 10);
  auto& keep = ensure(spec, "persistentVolumeClaimRetentionPolicy");
  fallback(keep, "whenDeleted", "Retain");
  fallback(keep, "whenScaled", "Retain");
  each(spec, "volumeClaimTemplates", [](Object& claim) {
    fallback(claim, "apiVersion", "v1");
    fallback(claim, "kind", "PersistentVolumeClaim");
    fallback(metadata(claim), "creationTimestamp", nullptr);
    fallback(ensure(claim, "spec"), "volumeMode", "Filesystem");
    fallback(ensure(claim, "status"), "phase", "Pending");
  });
}

void defaults_job(Object& o) {
  auto& spec = ensure(o, "spec");
  const bool has_completions = at(spec, "completions") != nullptr && !at(spec, "completions")->is_null();
  const bool has_parallelism = at(spec, "parallelism") != nullptr && !at(spec, "parallelism")->is_null();
  fallback(spec, "completionMode", "NonIndexed");
  if (!has_completions && !has_parallelism) spec["completions"] = 1;
  fallback(spec, "parallelism", 1);
  const auto* per_index = at(spec, "backoffLimitPerIndex");
  fallback(spec, "backoffLimit", per_index != nullptr && !per_index->is_null() ? 2147483647 : 6);
  fallback(spec, "suspend", false);
  fallback(spec, "manualSelector", false);
  fallback(spec, "podReplacementPolicy", spec.contains("podFailurePolicy") ? "Failed" : "TerminatingOrFailed");
  if (auto* policy = child(spec, "podFailurePolicy"))
    each(*policy, "rules",
         [](Object& r) { each(r, "onPodConditions", [](Object& c) { fallback(c, "status", "True"); }); });
  defaults_pod_template(spec);
  // The selector of a job is its own: the uid is in it.
  auto uid = std::string(uid_of(o));
  auto take_labels = [&] {
    const auto labels = object_at(spec, "template.metadata.labels");
    if (!labels.empty() && object_at(o, "metadata.labels").empty()) metadata(o)["labels"] = labels;
  };
  if (bool_at(spec, "manualSelector") || uid.empty()) {
    take_labels();
    return;
  }
  auto& on = ensure(spec, "template.metadata.labels");
  auto name = std::string(name_of(o));
  for (std::string_view key : {"controller-uid", "batch.kubernetes.io/controller-uid"}) fallback(on, key, Value(uid));
  for (std::string_view key : {"job-name", "batch.kubernetes.io/job-name"}) fallback(on, key, Value(name));
  fallback(ensure(spec, "selector.matchLabels"), "batch.kubernetes.io/controller-uid", Value(uid));
  take_labels();
}

void defaults_cron_job(Object& spec) {
  fallback(spec, "concurrencyPolicy", "Allow");
  fallback(spec, "suspend", false);
  fallback(spec, "successfulJobsHistoryLimit", 3);
  fallback(spec, "failedJobsHistoryLimit", 1);
  fallback(ensure(spec, "jobTemplate.metadata"), "creationTimestamp", nullptr);
  defaults_pod_template(ensure(spec, "jobTemplate.spec"));
}

void defaults_rbac(Object& o) {
  if (auto* ref = child(o, "roleRef"))
    if (text_at(*ref, "apiGroup").empty()) (*ref)["apiGroup"] = "rbac.authorization.k8s.io";
  each(o, "subjects", [](Object& s) {
    auto kind = text_at(s, "kind");
    if ((kind == "User" || kind == "Group") && text_at(s, "apiGroup").empty())
      s["apiGroup"] = "rbac.authorization.k8s.io";
  });
}

void defaults_network_policy(Object& o) {
  auto& spec = ensure(o, "spec");
  fallback(spec, "podSelector", Object{});
  for (auto list : {"ingress", "egress"})
    each(spec, list, [](Object& rule) { each(rule, "ports", [](Object& p) { fallback(p, "protocol", "TCP"); }); });
  if (array_at(spec, "policyTypes").empty()) {
    Array types{"Ingress"};
    if (!array_at(spec, "egress").empty()) types.push_back("Egress");
    spec["policyTypes"] = std::move(types);
  }
}

void defaults_crd(Object& o) {
  auto& spec = ensure(o, "spec");
  auto& names = ensure(spec, "names");
  auto kind = std::string(text_at(names, "kind"));
  if (text_at(names, "singular").empty() && !kind.empty()) names["singular"] = text::lower(kind);
  if (text_at(names, "listKind").empty() && !kind.empty()) names["listKind"] = kind + "List";
  if (text_at(spec, "conversion.strategy").empty()) ensure(spec, "conversion")["strategy"] = "None";
  if (auto* hook = child(spec["conversion"].get_object(), "webhook"))
    if (auto* client = child(*hook, "clientConfig"))
      if (auto* service = child(*client, "service")) fallback(*service, "port", 443);
}

// The old way to name a model's format: predictor.sklearn instead of predictor.model.
void defaults_inference_service(Object& o) {
  auto* spec = child(o, "spec");
  auto* predictor = spec == nullptr ? nullptr : child(*spec, "predictor");
  if (predictor == nullptr) return;
  for (std::string_view format :
       {"sklearn", "xgboost", "tensorflow", "pytorch", "triton", "onnx", "huggingface", "pmml", "lightgbm", "paddle"}) {
    auto* old = child(*predictor, format);
    if (old == nullptr) continue;
    if (!predictor->contains("model")) {
      Object model{{"modelFormat", Object{{"name", format}}}};
      for (const auto& m : *old) model[m.key()] = m.value();
      fallback(model, "protocolVersion", format == "triton" || format == "onnx" ? "v2" : "v1");
      (*predictor)["model"] = std::move(model);
    }
    predictor->erase(format);
    break;
  }
  if (auto* model = child(*predictor, "model")) {
    fallback(*model, "name", "");
    fallback(*model, "resources", Object{});
  }
}

}  // namespace

void defaults_apps(std::string_view kind, Object& o) {
  // What the status of a new object shows: members that the real server never leaves out. Before `spec` is held: a new
  // member may move the others.
  if (kind == "Deployment" || kind == "Job" || kind == "CronJob")
    fallback(o, "status", Object{});
  else if (kind == "ReplicaSet")
    fallback(o, "status", Object{{"replicas", 0}});
  else if (kind == "StatefulSet")
    fallback(o, "status", Object{{"replicas", 0}, {"availableReplicas", 0}});
  else if (kind == "DaemonSet")
    fallback(o, "status",
             Object{{"currentNumberScheduled", 0},
                    {"numberMisscheduled", 0},
                    {"desiredNumberScheduled", 0},
                    {"numberReady", 0}});
  auto& spec = ensure(o, "spec");
  if (kind == "Deployment") {
    defaults_deployment(spec);
    defaults_pod_template(spec);
  } else if (kind == "ReplicaSet") {
    fallback(spec, "replicas", 1);
    defaults_pod_template(spec);
  } else if (kind == "StatefulSet") {
    defaults_stateful_set(spec);
    defaults_pod_template(spec);
  } else if (kind == "DaemonSet") {
    auto& strategy = ensure(spec, "updateStrategy");
    if (text_at(strategy, "type").empty()) strategy["type"] = "RollingUpdate";
    if (text_at(strategy, "type") == "RollingUpdate") {
      auto& rolling = ensure(strategy, "rollingUpdate");
      fallback(rolling, "maxUnavailable", 1);
      fallback(rolling, "maxSurge", 0);
    }
    fallback(spec, "revisionHistoryLimit", 10);
    defaults_pod_template(spec);
  } else if (kind == "Job") {
    defaults_job(o);
  } else if (kind == "CronJob") {
    defaults_cron_job(spec);
  } else if (kind == "HorizontalPodAutoscaler") {
    fallback(spec, "minReplicas", 1);
  }
}

void defaults_other(const Kind& kind, Object& o) {
  if (kind.group == "rbac.authorization.k8s.io") {
    if (kind.kind.ends_with("Binding"))
      defaults_rbac(o);
    else
      fallback(o, "rules", nullptr);
  } else if (kind.kind == "NetworkPolicy" && kind.group == "networking.k8s.io") {
    defaults_network_policy(o);
  } else if (kind.kind == "PodDisruptionBudget") {
    fallback(o, "status",
             Object{{"disruptionsAllowed", 0}, {"currentHealthy", 0}, {"desiredHealthy", 0}, {"expectedPods", 0}});
  } else if (kind.kind == "EndpointSlice") {
    each(o, "ports", [](Object& p) {
      fallback(p, "name", "");
      fallback(p, "protocol", "TCP");
    });
  } else if (kind.kind == "StorageClass") {
    fallback(o, "reclaimPolicy", "Delete");
    fallback(o, "volumeBindingMode", "Immediate");
  } else if (kind.kind == "PriorityClass") {
    fallback(o, "preemptionPolicy", "PreemptLowerPriority");
  } else if (kind.kind == "CustomResourceDefinition") {
    defaults_crd(o);
  } else if (kind.kind == "InferenceService" && kind.group == "serving.kserve.io") {
    defaults_inference_service(o);
  }
}

}  // namespace mr::kube
