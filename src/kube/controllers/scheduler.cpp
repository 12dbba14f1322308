#include "kube/controllers/controllers.h"
#include "kube/controllers/pods.h"

namespace mr::kube {

namespace {

constexpr std::string_view kComponent = "default-scheduler";

// Why the one node cannot take the pod; empty: it can.
std::string misfit(const Object& pod, const Object* node, const std::string& name) {
  if (node != nullptr && bool_at(*node, "spec.unschedulable")) return "node(s) were unschedulable";
  for (const auto& [k, v] : object_at(pod, "spec.nodeSelector")) {
    if (k == "kubernetes.io/hostname" && v.is_string() && v.get_string() == name) continue;
    const Value* have = node != nullptr ? object_at(*node, "metadata.labels").if_contains(k) : nullptr;
    if (have == nullptr || *have != v) return "node(s) didn't match Pod's node affinity/selector";
  }
  return {};
}

task::Task<Result<Again>> reconcile(Manager& m, Api& api, std::string node_name, Key key) {
  auto pod = api.store().latest("pods", key);
  if (!pod || deleting(*pod) || !text_at(*pod, "spec.nodeName").empty()) co_return Again{};
  if (text_at(*pod, "spec.schedulerName", "default-scheduler") != "default-scheduler") co_return Again{};
  Object next = *pod;
  if (!array_at(*pod, "spec.schedulingGates").empty()) {
    if (set_condition(next, "PodScheduled", "False", "SchedulingGated",
                      "Scheduling is blocked due to non-empty scheduling gates"))
      (void)co_await api.store().put("pods", key, std::move(next), resource_version_of(*pod));
    co_return Again{};
  }
  auto node = m.informer(gvr::nodes).get({"", node_name});
  auto why = misfit(*pod, node.get(), node_name);
  if (!why.empty()) {
    auto message = fmt::format("0/1 nodes are available: 1 {}.", why);
    if (set_condition(next, "PodScheduled", "False", "Unschedulable", message)) {
      auto done = co_await api.store().put("pods", key, std::move(next), resource_version_of(*pod));
      if (!done) co_return std::unexpected(done.error());
      m.event(*pod, "Warning", "FailedScheduling", message, kComponent);
    }
    co_return Again{5000};
  }
  ensure(next, "spec")["nodeName"] = node_name;
  set_condition(next, "PodScheduled", "True", "", "");
  auto done = co_await api.store().put("pods", key, std::move(next), resource_version_of(*pod));
  if (!done) co_return std::unexpected(done.error());
  m.event(*pod, "Normal", "Scheduled", fmt::format("Successfully assigned {}/{} to {}", key.ns, key.name, node_name),
          kComponent);
  co_return Again{};
}

}  // namespace

void add_scheduler(Manager& m, Api& api, std::string node_name) {
  auto& q = m.controller(
      "scheduler", [&m, &api, node = std::move(node_name)](Key key) { return reconcile(m, api, node, std::move(key)); },
      16);
  m.informer(gvr::nodes);
  m.informer(gvr::pods).on_change([&q](const ObjectPtr& now, const ObjectPtr&) {
    if (now && text_at(*now, "spec.nodeName").empty() && !deleting(*now)) q.add(key_of(*now));
  });
}

}  // namespace mr::kube
