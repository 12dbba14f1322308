// KServe's batcher: V1 predictions of several requests computed as one. A request that comes while nothing of its model
// is computed goes at once; those that come meanwhile make the next batch, which goes when it is full, when the model
// is free, or when the oldest has waited for the latency. Only rows of one form are joined, and a batch that is refused
// is computed again request by request, so that nobody answers for another's fault. Thread safe; Repository must
// outlive the handler.
#pragma once
#include <boost/json/array.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "http/message.h"
#include "serving/repository.h"

namespace mr::serving {

struct BatcherOptions {
  std::size_t max_batch = 32;  // rows
  long max_latency_ms = 5000;  // that a request waits for its batch
  long timeout_ms = 60'000;    // that a batch waits for its model
  std::size_t queue = 1000;    // requests that wait for one model; more are refused
};

// `inner` with POST /v1/models/M:predict answered in batches, in the form of KServe's agent:
// {"message":"","batchId":…,"predictions":[…]}.
http::Handler with_batcher(http::Handler inner, Repository& repository, BatcherOptions options);

// The form of rows: the same text for rows that may be joined; empty: they are computed alone. A pure function.
std::string form_of_rows(const boost::json::array& rows);
// The elements of a JSON array's text; nullopt when it is none. Pure.
std::optional<std::vector<std::string_view>> elements_of(std::string_view array);

}  // namespace mr::serving
