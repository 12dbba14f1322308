// CloudEvents 1.0 around V1 requests and answers, as KServe's servers take them: binary (ce-* headers beside the body)
// and structured (application/cloudevents+json with the body in `data`). Pure functions.
#pragma once
#include <optional>
#include <string>
#include <string_view>

#include "http/message.h"

namespace mr::serving {

enum class EventForm : std::uint8_t { none, binary, structured };
EventForm event_form(const http::Request& request);

// The request inside a structured event. Errors: it is no event, or has no data.
Result<std::string> event_data(std::string_view body);
// The answer of `model` as an event of the same form; with `none` as it is.
http::Response event_answer(EventForm form, std::string_view model, std::string json);

}  // namespace mr::serving
