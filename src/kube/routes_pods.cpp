// Subresources that do something: a pod's logs, commands, ports, binding and eviction; a service account's tokens.
#include "json/parse.h"
#include "kube/request.h"
#include "kube/wire.h"
#include "stream/port_forward.h"
#include "stream/remote_command.h"
#include "text/text.h"
#include "time/clock.h"

namespace mr::kube {

namespace {

// The container that a request means: the one named, the default one, the only one.
Answer<std::string> container_of(const Object& pod, std::string_view named) {
  std::vector<std::string> names;
  std::vector<std::string> init;
  for (const auto& c : array_at(pod, "spec.containers"))
    if (c.is_object()) names.emplace_back(text_at(c.get_object(), "name"));
  for (const auto& c : array_at(pod, "spec.initContainers"))
    if (c.is_object()) init.emplace_back(text_at(c.get_object(), "name"));
  if (!named.empty()) {
    auto is = [&](const std::string& n) { return n == named; };
    if (std::ranges::any_of(names, is) || std::ranges::any_of(init, is)) return std::string(named);
    return std::unexpected(bad_request(fmt::format("container {} is not valid for pod {}", named, name_of(pod))));
  }
  if (names.size() == 1) return names[0];
  auto list = [](const std::vector<std::string>& v) {
    std::string s;
    for (const auto& n : v) s += (s.empty() ? "" : " ") + n;
    return s;
  };
  std::string message =
      fmt::format("a container name must be specified for pod {}, choose one of: [{}]", name_of(pod), list(names));
  if (!init.empty()) message += fmt::format(" or one of the init containers: [{}]", list(init));
  return std::unexpected(bad_request(message));
}

std::string container_state(const Object& pod, std::string_view container) {
  for (const char* list : {"status.containerStatuses", "status.initContainerStatuses"})
    for (const auto& s : array_at(pod, list))
      if (s.is_object() && text_at(s.get_object(), "name") == container) {
        if (at(s.get_object(), "state.waiting") != nullptr)
          return std::string(text_at(s.get_object(), "state.waiting.reason", "ContainerCreating"));
      }
  return {};
}

http::Response no_node() { return error_response(make_error(503, "ServiceUnavailable", "no node runs pods here")); }

task::Task<http::Response> serve_log(const ServerDeps& deps, Call& c, const ObjectPtr& pod) {
  auto container = container_of(*pod, c.param("container"));
  if (!container) co_return error_response(container.error());
  LogOptions o;
  o.container = *container;
  o.follow = c.flag("follow");
  if (c.http->gone != nullptr) o.gone = *c.http->gone;
  o.previous = c.flag("previous");
  o.timestamps = c.flag("timestamps");
  for (auto [name, slot] :
       {std::pair{"tailLines", &o.tail_lines}, {"limitBytes", &o.limit_bytes}, {"sinceSeconds", &o.since_seconds}}) {
    auto v = c.param(name);
    if (v.empty()) continue;
    *slot = text::to_i64(v);
    if (!*slot || **slot < (std::string_view(name) == "tailLines" ? 0 : 1))
      co_return error_response(
          invalid_object("", "PodLogOptions", c.target.name,
                         {invalid(name, *slot ? Value(**slot) : Value(v),
                                  std::string_view(name) == "tailLines" ? "must be greater than or equal to 0"
                                                                        : "must be greater than 0")}));
  }
  o.since_time = c.param("sinceTime");
  if (o.since_seconds && !o.since_time.empty())
    co_return error_response(
        invalid_object("", "PodLogOptions", c.target.name,
                       {forbidden("[]", "at most one of `sinceTime` or `sinceSeconds` may be specified")}));
  auto waiting = container_state(*pod, *container);
  if (!waiting.empty() && !o.previous && waiting != "CrashLoopBackOff")
    co_return error_response(bad_request(
        waiting == "PodInitializing" || waiting == "ContainerCreating"
            ? fmt::format("container \"{}\" in pod \"{}\" is waiting to start: {}", *container, c.target.name, waiting)
            : fmt::format("container \"{}\" in pod \"{}\" is waiting to start: {}", *container, c.target.name,
                          waiting == "ErrImagePull" || waiting == "ImagePullBackOff"
                              ? "trying and failing to pull image"
                              : waiting)));
  auto r = co_await deps.pods->logs(pod, std::move(o));
  if (!r) co_return error_response(to_api_error(r.error()));
  co_return std::move(*r);
}

task::Task<http::Response> serve_command(const ServerDeps& deps, Call& c, const ObjectPtr& pod, bool attach) {
  auto wanted = stream::exec_options(*c.http);
  auto container = container_of(*pod, wanted.container);
  if (!container) co_return error_response(container.error());
  if (!attach && wanted.command.empty()) co_return error_response(bad_request("you must specify at least 1 command"));
  if (!wanted.in && !wanted.out && !wanted.err)
    co_return error_response(bad_request("you must specify at least one of stdin, stdout, stderr"));
  auto phase = text_at(*pod, "status.phase");
  if (phase == "Succeeded" || phase == "Failed")
    co_return error_response(
        make_error(500, "InternalError",
                   fmt::format("cannot exec into a container in a completed pod; current phase is {}", phase)));
  wanted.container = *container;
  ExecOptions o{*container, wanted.command, wanted.in, wanted.out, wanted.err, wanted.tty};
  auto session = attach ? co_await deps.pods->attach(pod, std::move(o)) : co_await deps.pods->exec(pod, std::move(o));
  if (!session) co_return error_response(to_api_error(session.error()));
  co_return stream::serve_exec(*c.http, std::move(wanted), std::move(*session));
}

task::Task<http::Response> serve_binding(const ServerDeps& deps, Call& c) {
  std::vector<std::string> faults;
  auto body = co_await read_object(c, faults);
  if (!body) co_return error_response(body.error());
  auto node = std::string(text_at(*body, "target.name"));
  if (node.empty()) co_return error_response(make_error(500, "", "target.name: Required value"));
  auto current = deps.api->store().latest("pods", {c.target.ns, c.target.name});
  if (!current) co_return error_response(not_found("", "pods", c.target.name));
  if (auto bound = text_at(*current, "spec.nodeName"); !bound.empty())
    co_return error_response(conflict("", "pods/binding", c.target.name,
                                      fmt::format("pod {} is already assigned to node \"{}\"", c.target.name, bound)));
  Object next = *current;
  ensure(next, "spec")["nodeName"] = node;
  set_condition(next, "PodScheduled", "True", "", "");
  auto rv = resource_version_of(*current);
  auto done = co_await deps.api->store().put("pods", {c.target.ns, c.target.name}, std::move(next), rv);
  if (!done)
    co_return error_response(
        conflict("", "pods", c.target.name,
                 "the object has been modified; please apply your changes to the latest version and try again"));
  co_return object_response(
      201,
      Object{{"kind", "Status"}, {"apiVersion", "v1"}, {"metadata", Object{}}, {"status", "Success"}, {"code", 201}});
}

task::Task<http::Response> serve_eviction(const ServerDeps& deps, Call& c) {
  std::vector<std::string> faults;
  auto body = co_await read_object(c, faults);
  if (!body) co_return error_response(body.error());
  DeleteOptions o;
  if (const auto* g = at(*body, "deleteOptions.gracePeriodSeconds"); g != nullptr && g->is_int64())
    o.grace_seconds = g->get_int64();
  Target t = c.target;
  t.subresource.clear();
  auto r = co_await deps.api->remove(t, std::move(o));
  if (!r) co_return error_response(r.error());
  co_return object_response(
      201,
      Object{{"kind", "Status"}, {"apiVersion", "v1"}, {"metadata", Object{}}, {"status", "Success"}, {"code", 201}});
}

task::Task<http::Response> serve_token(const ServerDeps& deps, Call& c) {
  std::vector<std::string> faults;
  auto body = co_await read_object(c, faults);
  if (!body) co_return error_response(body.error());
  auto account = deps.api->store().latest("serviceaccounts", {c.target.ns, c.target.name});
  if (!account) co_return error_response(not_found("", "serviceaccounts", c.target.name));
  std::vector<std::string> audiences;
  for (const auto& a : array_at(*body, "spec.audiences"))
    if (a.is_string()) audiences.emplace_back(a.get_string());
  auto seconds = int_at(*body, "spec.expirationSeconds", 3600);
  if (seconds < 600)
    co_return error_response(invalid_object(
        "authentication.k8s.io", "TokenRequest", "",
        {invalid("spec.expirationSeconds", Value(seconds), "may not specify a duration less than 10 minutes")}));
  if (seconds > (std::int64_t{1} << 32))
    co_return error_response(invalid_object(
        "authentication.k8s.io", "TokenRequest", "",
        {invalid("spec.expirationSeconds", Value(seconds), "may not specify a duration larger than 2^32 seconds")}));
  if (auto kind = text_at(*body, "spec.boundObjectRef.kind"),
      version = text_at(*body, "spec.boundObjectRef.apiVersion");
      !kind.empty() && !(version == "v1" && (kind == "Pod" || kind == "Secret" || kind == "Node")))
    co_return error_response(
        bad_request(fmt::format("cannot bind token to object of type {}{}, Kind={}",
                                version.find('/') == std::string_view::npos ? "/" : "", version, kind)));
  ObjectPtr pod;
  if (text_at(*body, "spec.boundObjectRef.kind") == "Pod") {
    pod = deps.api->store().latest("pods", {c.target.ns, std::string(text_at(*body, "spec.boundObjectRef.name"))});
    if (!pod) co_return error_response(not_found("", "pods", text_at(*body, "spec.boundObjectRef.name")));
  }
  auto issued = deps.tokens->issue(*account, audiences, seconds, pod.get());
  if (!issued) co_return error_response(to_api_error(issued.error()));
  Object o = make_object("authentication.k8s.io/v1", "TokenRequest", c.target.ns, c.target.name);
  metadata(o)["creationTimestamp"] = now_text();
  Array aud;
  for (const auto& a : audiences) aud.push_back(Value(a));
  if (aud.empty()) aud.push_back(Value(deps.tokens->issuer()));
  o["spec"] = Object{{"audiences", std::move(aud)}, {"expirationSeconds", seconds}, {"boundObjectRef", nullptr}};
  o["status"] = Object{{"token", issued->token},
                       {"expirationTimestamp", time::iso8601_ms(issued->expires_unix * 1000).substr(0, 19) + "Z"}};
  co_return object_response(201, o);
}

}  // namespace

task::Task<std::optional<http::Response>> serve_subresource(const ServerDeps& deps, Call& c) {
  const auto q = c.target.kind->qualified();
  const auto& sub = c.target.subresource;
  using M = http::Method;
  auto method = c.http->method;
  if (q == "serviceaccounts" && sub == "token" && method == M::post) co_return co_await serve_token(deps, c);
  if (q != "pods") co_return std::nullopt;
  if (sub == "binding" && method == M::post) co_return co_await serve_binding(deps, c);
  if (sub == "eviction" && method == M::post) co_return co_await serve_eviction(deps, c);
  bool streams = sub == "log" || sub == "exec" || sub == "attach" || sub == "portforward";
  if (!streams) co_return std::nullopt;
  auto pod = deps.api->store().get("pods", {c.target.ns, c.target.name});
  if (!pod) co_return error_response(not_found("", "pods", c.target.name));
  if (deps.pods == nullptr) co_return no_node();
  if (sub == "log") co_return co_await serve_log(deps, c, pod);
  if (method != M::get && method != M::post)
    co_return error_response(
        make_error(405, "MethodNotAllowed", "the server does not allow this method on the requested resource"));
  if (sub == "portforward") {
    auto dialer = co_await deps.pods->port_forward(pod);
    if (!dialer) co_return error_response(to_api_error(dialer.error()));
    co_return stream::serve_port_forward(*c.http, std::move(*dialer),
                                         {fmt::format("{}_{}", c.target.name, c.target.ns), std::string(uid_of(*pod))});
  }
  co_return co_await serve_command(deps, c, pod, sub == "attach");
}

}  // namespace mr::kube
