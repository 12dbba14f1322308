#include <set>

#include "kube/controllers/controllers.h"
#include "kube/controllers/pods.h"
#include "kube/controllers/requests.h"

namespace mr::kube {

namespace {

constexpr std::string_view kSchedulerComponent = "default-scheduler";

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

struct Book {
  Ledger ledger;
  std::set<Key> waiting;  // pods that would have fitted, had others asked for less
};

bool finished(const Object& pod) {
  auto phase = text_at(pod, "status.phase");
  return phase == "Succeeded" || phase == "Failed";
}

task::Task<Result<Again>> reconcile_scheduler(Manager& m, Api& api, std::string node_name, std::shared_ptr<Book> book,
                                              Key key) {
  auto pod = api.store().latest("pods", key);
  book->waiting.erase(key);
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
  auto asked = pod_requests(*pod);
  if (why.empty() && node)
    for (const auto& one : book->ledger.lacking(asked, *node)) why += (why.empty() ? "" : ", 1 ") + one;
  if (!why.empty()) {
    book->waiting.insert(key);
    auto message = fmt::format("0/1 nodes are available: 1 {}.", why);
    if (set_condition(next, "PodScheduled", "False", "Unschedulable", message)) {
      auto done = co_await api.store().put("pods", key, std::move(next), resource_version_of(*pod));
      if (!done) co_return std::unexpected(done.error());
      m.event(*pod, "Warning", "FailedScheduling", message, kSchedulerComponent);
    }
    co_return Again{5000};
  }
  // Before anything is waited for: whoever is looked at meanwhile sees what is left.
  const std::string uid(uid_of(*pod));
  book->ledger.take(uid, std::move(asked));
  ensure(next, "spec")["nodeName"] = node_name;
  set_condition(next, "PodScheduled", "True", "", "");
  auto done = co_await api.store().put("pods", key, std::move(next), resource_version_of(*pod));
  if (!done) {
    // Unless somebody else has bound it meanwhile, which was counted when it was seen.
    auto now = m.informer(gvr::pods).get(key);
    if (!now || uid_of(*now) != uid || text_at(*now, "spec.nodeName").empty()) book->ledger.release(uid);
    co_return std::unexpected(done.error());
  }
  m.event(*pod, "Normal", "Scheduled", fmt::format("Successfully assigned {}/{} to {}", key.ns, key.name, node_name),
          kSchedulerComponent);
  co_return Again{};
}

}  // namespace

void add_scheduler(Manager& m, Api& api, std::string node_name) {
  auto book = std::make_shared<Book>();
  auto& q = m.controller(
      "scheduler",
      [&m, &api, book, node = node_name](Key key) { return reconcile_scheduler(m, api, node, book, std::move(key)); },
      16);
  m.informer(gvr::nodes);
  m.informer(gvr::pods).on_change(
      [&q, book, node = std::move(node_name)](const ObjectPtr& now, const ObjectPtr& before) {
        bool room = false;
        // A pod of the same name is another one.
        if (before && (!now || uid_of(*now) != uid_of(*before)))
          room = book->ledger.release(std::string(uid_of(*before)));
        if (now) {
          const auto where = text_at(*now, "spec.nodeName");
          if (where.empty()) {
            if (!deleting(*now)) q.add(key_of(*now));
          } else if (finished(*now)) {
            room = book->ledger.release(std::string(uid_of(*now))) || room;
          } else if (where == node) {
            book->ledger.take(std::string(uid_of(*now)), pod_requests(*now));
          }
        }
        if (room)
          for (const auto& key : std::exchange(book->waiting, {})) q.add(key);
      });
}

}  // namespace mr::kube
