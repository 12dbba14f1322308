// Rules of users: whatever a VirtualService's spec says, it compiles or is named, and matching ends.
// Input: a line with a host and a path, then the spec as JSON.
#include <boost/json/parse.hpp>

#include "mesh/host.h"
#include "mesh/read.h"
#include "mesh/route_table.h"

namespace {
using namespace mr;

kube::ObjectPtr object(boost::json::value spec) {
  kube::Object o;
  o["metadata"] = {{"namespace", "ns"}, {"name", "x"}};
  o["spec"] = std::move(spec);
  return std::make_shared<const kube::Object>(std::move(o));
}
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view in(reinterpret_cast<const char*>(data), size);
  auto line = in.substr(0, in.find('\n'));
  auto rest = line.size() < in.size() ? in.substr(line.size() + 1) : std::string_view{};
  auto host = line.substr(0, line.find(' '));
  auto path = host.size() < line.size() ? line.substr(host.size() + 1) : std::string_view{"/"};

  (void)mesh::service_of_host(host, "ns");
  (void)mesh::valid_host_pattern(host);
  (void)mesh::parse_duration_ms(path);
  auto normal = mesh::normal_path(path);
  // Once is enough: a path that was made normal stays as it is.
  if (normal && path.starts_with('/') && mesh::normal_path(*normal) != normal) __builtin_trap();

  boost::system::error_code ec;
  auto spec = boost::json::parse({rest.data(), rest.size()}, ec);
  if (ec) return 0;
  static const auto door = object(boost::json::parse(
      R"({"selector":{"istio":"ingressgateway"},"servers":[{"port":{"number":80},"hosts":["*"]}]})"));
  mesh::Inputs inputs;
  inputs.gateways = {door, object(spec)};
  inputs.virtual_services = {object(spec)};
  inputs.destination_rules = {object(spec)};
  auto out = mesh::compile(inputs);
  mesh::RequestView rq;
  rq.method = "GET";
  rq.authority = host;
  rq.path = normal ? std::string_view(*normal) : "/";
  rq.query = "a=b";
  const std::pair<std::string_view, std::string_view> headers[] = {{"x", "1"}, {"X", "2"}};
  rq.headers = headers;
  auto m = out.table->match(rq);
  if (m.route == nullptr) return 0;
  if (!mesh::rewritten_path(*m.route, m.by, rq.path).starts_with('/') && rq.path.starts_with('/') && m.route->rewrite)
    __builtin_trap();
  if (m.route->redirect) (void)mesh::redirect_location(*m.route->redirect, m.by, rq);
  (void)mesh::choose(*m.route, size);
  return 0;
}
