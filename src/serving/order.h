// What a request says of its turn where requests wait for a model: its priority and how long it may wait. Pure
// functions and plain values.
#pragma once
#include <cstdint>
#include <string_view>

namespace mr::serving {

inline constexpr int kPriorities = 8;     // 1 goes first
inline constexpr int kUsualPriority = 4;  // of who says none: the header's u=3

struct Order {
  int priority = 0;     // 1 to kPriorities; 0: the usual one
  long timeout_ms = 0;  // 0: what the model's own limit says
};

// `priority_header`: RFC 9218's Priority, whose urgency u=0 to u=7 is 1 to 8. `json`: a V2 request, or its `parameters`
// alone; `priority` and `timeout` (microseconds) among them are Triton's and go before the header. What cannot be read
// says nothing: the request itself is judged elsewhere.
Order order_of(std::string_view priority_header, std::string_view json);

}  // namespace mr::serving
