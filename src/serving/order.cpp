#include "serving/order.h"

#include <simdjson.h>

#include <algorithm>

#include "text/text.h"

namespace mr::serving {

namespace {

constexpr std::uint64_t kLongestUs = 86'400'000'000;  // a day

int priority_of(std::uint64_t said) {
  // Triton's rule: what is no level means the usual one.
  return said >= 1 && said <= kPriorities ? static_cast<int>(said) : 0;
}

void read_parameters(simdjson::dom::object parameters, Order& o) {
  std::uint64_t n = 0;
  if (!parameters["priority"].get(n)) o.priority = priority_of(n);
  if (!parameters["timeout"].get(n) && n > 0) o.timeout_ms = static_cast<long>((std::min(n, kLongestUs) + 999) / 1000);
}

}  // namespace

Order order_of(std::string_view header, std::string_view json) {
  Order o;
  for (auto part : text::split(header, ',')) {
    part = text::trim(part.substr(0, part.find(';')));
    if (part.size() == 3 && part.starts_with("u=") && part[2] >= '0' && part[2] <= '7') o.priority = part[2] - '0' + 1;
  }
  // Most requests say nothing: their text is not read for it.
  if (json.find("\"priority\"") == std::string_view::npos && json.find("\"timeout\"") == std::string_view::npos)
    return o;
  simdjson::dom::parser parser;
  simdjson::dom::object request, parameters;
  if (parser.parse(json.data(), json.size()).get(request)) return o;
  if (!request["parameters"].get(parameters))
    read_parameters(parameters, o);
  else if (request["inputs"].error() != simdjson::SUCCESS)
    read_parameters(request, o);
  return o;
}

}  // namespace mr::serving
