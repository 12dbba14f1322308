// What the routes of both protocols do alike: limits, refusals, and where a request is computed. Internal to the room's
// routes. Thread safe.
#pragma once
#include <optional>

#include "http/message.h"
#include "serving/v2.h"
#include "task/pool.h"

namespace mr::serving {

inline constexpr std::size_t kBodyLimit = 256U << 20;
inline constexpr std::size_t kInlineBody = 64 * 1024;  // larger requests are computed on the pool

// The process's threads for large inferences, one a core.
task::Pool& compute_pool();
http::Response refused(const Refusal& r);
// A body that could not be read, in the shape of both protocols.
http::Response body_error(const Error& e);
http::Response too_busy();

// Threads that wait for engines outside this process; made when the first is asked.
task::Pool& waiting_pool();

// fn() on this loop when the body is small, else on the pool; nullopt: the pool's queue is full. What a remote engine
// computes is waited for on threads of its own.
template <class F>
task::Task<std::optional<std::invoke_result_t<F>>> compute(const Engine& engine, std::size_t body_bytes, F fn) {
  if (engine.remote()) co_return co_await task::run_on(waiting_pool(), std::move(fn));
  if (body_bytes <= kInlineBody) co_return fn();
  co_return co_await task::run_on(compute_pool(), std::move(fn));
}

}  // namespace mr::serving
