// Where a request goes among the pods of a Service, and how it waits while there is none that may take it: a Service
// whose pods come with demand, or pods that take so many requests at once. Internal to the gateway. Thread safe.
#pragma once
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "services/demand.h"
#include "services/directory.h"
#include "task/task.h"

namespace mr::gateway {

// What lives from a request's arrival to the last byte of its answer.
struct UnderWay {
  explicit UnderWay(std::shared_ptr<services::Meter> m) : meter(std::move(m)), ticket(meter) {}
  std::shared_ptr<services::Meter> meter;  // may be null
  services::Meter::Ticket ticket;
  std::optional<services::Use> use;  // of the endpoint that has it
};

struct Place {
  services::EndpointPtr endpoint;  // null: none, and `status` (503, 504) and `why` say what to answer
  int status = 503;
  std::string why = "no healthy upstream";
  bool later = false;  // too many wait: worth another try soon
};

// The endpoint that `pick` gives, waited for until `until_ns` of the monotonic clock where the Service's pods come with
// demand. The endpoint's use is counted in `way`.
task::Task<Place> find_place(UnderWay& way, std::function<services::EndpointPtr()> pick, std::int64_t until_ns);

// Until when a request may wait: its route's time, or five minutes.
std::int64_t hold_until(long timeout_ms);

}  // namespace mr::gateway
