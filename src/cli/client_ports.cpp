// Which pod and which of its ports port-forward's arguments mean.
#include "cli/client_forward.h"
#include "text/text.h"

namespace mr::cli {

namespace {

std::optional<std::uint16_t> number(std::string_view s) {
  auto n = text::to_u64(s);
  if (!n || *n == 0 || *n > 65535) return std::nullopt;
  return static_cast<std::uint16_t>(*n);
}

// The number of a port that the pod's containers name; 0 when none does.
std::uint16_t container_port(const kube::Object& pod, std::string_view name) {
  for (const char* list : {"spec.containers", "spec.initContainers"})
    for (const auto& c : kube::array_at(pod, list))
      if (c.is_object())
        for (const auto& p : kube::array_at(c.get_object(), "ports"))
          if (p.is_object() && kube::text_at(p.get_object(), "name") == name)
            return static_cast<std::uint16_t>(kube::int_at(p.get_object(), "containerPort"));
  return 0;
}

// A port of the Service by its number or name, as {its number, the pod's}.
Result<PortPair> service_port(std::string_view asked, const kube::Object& pod, const kube::Object& service) {
  std::string there;
  for (const auto& v : kube::array_at(service, "spec.ports")) {
    if (!v.is_object()) continue;
    const auto& p = v.get_object();
    auto own = static_cast<std::uint16_t>(kube::int_at(p, "port"));
    auto name = kube::text_at(p, "name");
    there += fmt::format("{}{}{}", there.empty() ? "" : ", ", own, name.empty() ? "" : fmt::format(" ({})", name));
    if (number(asked) != own && (name.empty() || name != asked)) continue;
    // A headless Service passes nothing on: its pods are reached on the port itself.
    if (kube::text_at(service, "spec.clusterIP") == "None") return PortPair{own, own};
    auto target = kube::text_at(p, "targetPort");
    auto remote = target.empty()   ? static_cast<std::uint16_t>(kube::int_at(p, "targetPort", own))
                  : number(target) ? *number(target)
                                   : container_port(pod, target);
    if (remote == 0)
      return fail(Code::failed_precondition,
                  fmt::format("the Service's port {} goes to the port \"{}\" of pod {}, which "
                              "has none of that name",
                              own, target, kube::name_of(pod)));
    return PortPair{own, remote};
  }
  return fail(Code::invalid_argument, fmt::format("Service {} does not have a port {}; it has {}",
                                                  kube::name_of(service), asked, there.empty() ? "none" : there));
}

bool ready(const kube::Object& pod) {
  const auto* c = kube::condition(pod, "Ready");
  return c != nullptr && kube::text_at(*c, "status") == "True";
}

}  // namespace

Result<PortPair> port_pair(std::string_view text, const kube::Object& pod, const kube::Object* service) {
  auto colon = text.find(':');
  auto asked = colon == std::string_view::npos ? text : text.substr(colon + 1);
  PortPair out;
  if (service != nullptr) {
    MR_TRY(out, service_port(asked, pod, *service));
  } else {
    out.remote = number(asked) ? *number(asked) : container_port(pod, asked);
    out.local = out.remote;
    if (out.remote == 0)
      return fail(Code::invalid_argument, fmt::format("'{}' is neither a port number nor the name of a port of pod {}",
                                                      asked, kube::name_of(pod)));
  }
  if (colon == std::string_view::npos) return out;
  auto local = text.substr(0, colon);
  out.local = number(local).value_or(0);
  if (out.local == 0 && !local.empty() && local != "0")
    return fail(Code::invalid_argument,
                fmt::format("'{}' is not a local port; write LOCAL:REMOTE, like 8080:80, or :80", local));
  return out;
}

Result<ForwardPlan> plan_forward(Api& api, const std::vector<std::string>& args) {
  auto what = args[0].find('/') == std::string::npos ? "pod/" + args[0] : args[0];
  MR_TRY(auto targets, targets_of(api, {what}));
  const auto& t = targets[0];
  MR_TRY(auto object, api.json({.path = t.resource.path(api.ns(), t.name)}));
  bool is_service = t.resource.group.empty() && t.resource.plural == "services";
  kube::Object pod;
  if (t.resource.group.empty() && t.resource.plural == "pods") {
    pod = object;
  } else {
    MR_TRY(auto selector, selector_of(object));
    MR_TRY(auto pods, api.resource("pods"));
    auto path = pods.path(api.ns());
    add_query(path, "labelSelector", selector);
    MR_TRY(auto found, api.list(path));
    auto best = std::ranges::max_element(found, {}, [](const kube::Object& p) {
      return std::tuple(kube::text_at(p, "status.phase") == "Running", ready(p), !kube::deleting(p));
    });
    if (best == found.end())
      return fail(Code::failed_precondition,
                  fmt::format("{} has no pods (its selector is {}); see `millrace describe {}`", what, selector, what));
    pod = *best;
  }
  if (auto phase = kube::text_at(pod, "status.phase"); phase != "Running")
    return fail(Code::failed_precondition,
                fmt::format("pod {} is not running: it is {}. See `millrace describe pod {}`", kube::name_of(pod),
                            phase, kube::name_of(pod)));
  ForwardPlan plan;
  plan.path = fmt::format("/api/v1/namespaces/{}/pods/{}/portforward", kube::namespace_of(pod), kube::name_of(pod));
  for (std::size_t i = 1; i < args.size(); ++i) {
    MR_TRY(auto p, port_pair(args[i], pod, is_service ? &object : nullptr));
    plan.ports.push_back(p);
  }
  return plan;
}

}  // namespace mr::cli
