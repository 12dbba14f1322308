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
Refusal no_place(ModelTraffic::Entry entry);

// Threads that wait for what takes long outside this process: loads, and remote engines without threads of their own.
task::Pool& waiting_pool();

// fn() when the model has a place for one more request (else a refusal with 429, or 504 when it waited too long): on
// this loop when the body is small, else on the pool. What a remote engine computes is waited for on threads of its
// own. `order` says how the request waits; it is asked only when that is so, and where fn would run.
template <class F, class O>
task::Task<std::expected<std::invoke_result_t<F>, Refusal>> compute(std::shared_ptr<const Model> model,
                                                                    std::size_t body_bytes, F fn, O order) {
  if (!model->traffic->try_enter()) {
    Order turn;
    if (body_bytes <= kInlineBody)
      turn = order();
    else if (auto read = co_await task::run_on(compute_pool(), order))
      turn = *read;
    auto entry = co_await model->traffic->enter(turn);
    if (entry != ModelTraffic::Entry::in) co_return std::unexpected(no_place(entry));
  }
  Place place(model->traffic);
  const bool remote = model->loaded.engine->remote();
  if (!remote && body_bytes <= kInlineBody) co_return fn();
  if (remote) model->traffic->to_worker();
  auto* own = model->loaded.engine->waiting();
  auto done = co_await task::run_on(own != nullptr ? *own : remote ? waiting_pool() : compute_pool(), std::move(fn));
  if (!done) co_return std::unexpected(no_place(ModelTraffic::Entry::full));
  co_return std::move(*done);
}

// One request of a model, counted when it ends: refused, unless it was answered.
class Counted {
 public:
  explicit Counted(std::shared_ptr<const Model> model);
  Counted(const Counted&) = delete;
  Counted& operator=(const Counted&) = delete;
  ~Counted();
  void answered() { answered_ = true; }

 private:
  std::shared_ptr<const Model> model_;
  std::int64_t began_;
  bool answered_ = false;
};

}  // namespace mr::serving
