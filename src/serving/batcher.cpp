#include "serving/batcher.h"

#include <algorithm>
#include <boost/json/value.hpp>
#include <deque>
#include <map>
#include <mutex>

#include "crypto/random.h"
#include "json/parse.h"
#include "serving/cloud_event.h"
#include "serving/columns.h"
#include "serving/exchange.h"
#include "serving/read_body.h"
#include "serving/v1.h"
#include "task/event.h"
#include "text/uri.h"

namespace mr::serving {

namespace {

using BatchReply = task::Task<http::Response>;

// One request, from its arrival until its answer.
struct Rider {
  boost::json::array rows;
  std::string form;
  std::size_t bytes = 0, count = 0;
  Order order;
  std::shared_ptr<const Model> model;
  bool taken = false;                                         // by a batch; under the queue's mutex
  std::optional<std::expected<std::string, Refusal>> answer;  // predictions
  std::string batch_id;
  task::Loop* loop = nullptr;
  std::coroutine_handle<> handle;
};
using RiderPtr = std::shared_ptr<Rider>;
using Batch = std::vector<RiderPtr>;

// What all waits for one model, and what is computed of it.
class BatchQueue : public std::enable_shared_from_this<BatchQueue> {
 public:
  BatchQueue(const BatcherOptions& options, const metrics::Labels& labels)
      : options_(options),
        waiting_(metrics::count_histogram("batch_request_queue",
                                          "Requests that wait when one more comes to the batcher.", labels)),
        joined_(metrics::count_histogram("millrace_batch_requests", "Requests that are computed as one.", labels)) {}

  // The rider's answer is there when it returns.
  task::Task<void> ride(RiderPtr r) {
    struct Awaiter {
      BatchQueue& q;
      RiderPtr r;
      bool await_ready() const { return false; }
      bool await_suspend(std::coroutine_handle<> h) const {
        r->loop = task::Loop::current();
        r->handle = h;
        Batch batch;
        {
          std::lock_guard guard(q.mutex_);
          if (q.riders_.size() >= q.options_.queue) {
            r->taken = true;
            r->answer = std::unexpected(no_place(ModelTraffic::Entry::full));
            return false;
          }
          q.waiting_.observe(static_cast<double>(q.riders_.size()));
          q.riders_.push_back(r);
          q.rows_ += r->count;
          if (q.running_ == 0 || q.rows_ >= q.options_.max_batch) batch = q.take();
        }
        if (!batch.empty()) q.launch(std::move(batch));
        return true;
      }
      void await_resume() const {}
    };
    task::Timer late;
    late.start(options_.max_latency_ms, [self = shared_from_this(), r] {
      Batch batch;
      {
        std::lock_guard guard(self->mutex_);
        if (!r->taken) batch = self->take();
      }
      if (!batch.empty()) self->launch(std::move(batch));
    });
    co_await Awaiter{*this, r};
    late.cancel();
  }

 private:
  // The next batch: the first of the queue and those behind it that can join. Under mutex_.
  Batch take() {
    Batch batch;
    if (riders_.empty()) return batch;
    std::size_t rows = 0;
    for (auto it = riders_.begin(); it != riders_.end() && rows < options_.max_batch;) {
      auto& r = *it;
      const bool joins = batch.empty() || (!r->form.empty() && r->form == batch[0]->form &&
                                           r->model == batch[0]->model && rows + r->count <= options_.max_batch);
      if (!joins) {
        ++it;
        continue;
      }
      r->taken = true;
      rows += r->count;
      batch.push_back(std::move(r));
      it = riders_.erase(it);
      if (batch[0]->form.empty()) break;
    }
    rows_ -= rows;
    ++running_;
    joined_.observe(static_cast<double>(batch.size()));
    return batch;
  }

  void launch(Batch batch) {
    auto* loop = task::Loop::current();
    loop->post([self = shared_from_this(), b = std::move(batch)]() mutable { task::detach(run(self, std::move(b))); });
  }

  static task::Task<void> run(std::shared_ptr<BatchQueue> self, Batch batch) {
    co_await self->compute_all(batch);
    auto id = crypto::uuid4();
    for (auto& r : batch) {
      r->batch_id = id;
      if (!r->answer) r->answer = std::unexpected(refusal(500, "the batch gave no answer"));
      r->loop->post([r] { r->handle.resume(); });
    }
    Batch next;
    {
      std::lock_guard guard(self->mutex_);
      if (--self->running_ == 0) next = self->take();
    }
    if (!next.empty()) self->launch(std::move(next));
  }

  task::Task<void> compute_all(Batch& batch) {
    std::size_t bytes = 0;
    Order order{.priority = 0, .timeout_ms = options_.timeout_ms};
    for (const auto& r : batch) {
      bytes += r->bytes;
      // A batch is as urgent as the most urgent of it.
      auto own = r->order.priority == 0 ? kUsualPriority : r->order.priority;
      order.priority = order.priority == 0 ? own : std::min(order.priority, own);
    }
    auto done = co_await compute(
        batch[0]->model, bytes,
        [&batch] {
          predict_batch(batch);
          return true;
        },
        [order] { return order; });
    if (!done)
      for (auto& r : batch) r->answer = std::unexpected(done.error());
  }

  static void predict_batch(Batch& batch) {
    const auto& model = *batch[0]->model;
    if (batch.size() > 1 && predict_joined(model, batch)) return;
    for (auto& r : batch) r->answer = predict_rows(model, r->rows);
  }

  // False: they have to be computed one by one.
  static bool predict_joined(const Model& model, Batch& batch) {
    boost::json::array all;
    for (auto& r : batch)
      for (auto& row : r->rows) all.push_back(std::move(row));
    bool by_rows = false;
    auto text = predict_rows(model, all, &by_rows);
    auto parts = text && by_rows ? elements_of(*text) : std::nullopt;
    const bool fits = parts && parts->size() == all.size();
    std::size_t at = 0;
    for (auto& r : batch) {
      if (fits) {
        std::string own = "[";
        for (std::size_t i = 0; i < r->count; ++i) (own += i > 0 ? "," : "") += (*parts)[at + i];
        r->answer = own + "]";
      } else {
        for (std::size_t i = 0; i < r->count; ++i) r->rows[i] = std::move(all[at + i]);
      }
      at += r->count;
    }
    return fits;
  }

  const BatcherOptions options_;
  metrics::Histogram waiting_, joined_;
  std::mutex mutex_;
  std::deque<RiderPtr> riders_;
  std::size_t rows_ = 0;     // of them
  std::size_t running_ = 0;  // batches that are computed
};

struct Batcher {
  Batcher(http::Handler i, Repository& r, BatcherOptions o) : inner(std::move(i)), repository(r), options(o) {}
  http::Handler inner;
  Repository& repository;
  BatcherOptions options;
  std::mutex mutex;
  std::map<std::string, std::shared_ptr<BatchQueue>, std::less<>> queues;  // of models that are there

  std::shared_ptr<BatchQueue> queue_of(const Model& m) {
    std::lock_guard guard(mutex);
    auto& q = queues[m.name];
    if (!q) q = std::make_shared<BatchQueue>(options, metrics::Labels{{"model", m.name}});
    return q;
  }
};

// The model whose predictions are asked for; empty: it is another request.
std::string predicted_model(const http::Request& rq) {
  constexpr std::string_view kPrefix = "/v1/models/", kVerb = ":predict";
  if (rq.method != http::Method::post || !rq.path.starts_with(kPrefix)) return {};
  auto name = text::percent_decode(rq.path.substr(kPrefix.size()));
  if (!name || !name->ends_with(kVerb) || name->contains('/')) return {};
  return name->substr(0, name->size() - kVerb.size());
}

BatchReply predict_in_batch(std::shared_ptr<Batcher> b, http::Request& rq, std::string name) {
  auto body = co_await http::read_all(rq, kBodyLimit);
  if (!body) co_return body_error(body.error());
  auto rider = std::make_shared<Rider>();
  // Large requests are batches already; what cannot be read is judged where it always is.
  if (body->size() <= kInlineBody && event_form(rq) == EventForm::none)
    if (auto doc = json::parse(*body); doc && doc->is_object())
      for (const char* key : {"inputs", "instances"})
        if (auto* v = doc->get_object().if_contains(key)) {
          if (v->is_array()) rider->rows = std::move(v->get_array());
          break;
        }
  if (rider->rows.empty()) co_return co_await answered_by(b->inner, rq, *body);
  auto model = co_await b->repository.get(name, "");
  // Where the model's own library reads what was sent, it is not taken apart here.
  if (!model || !reads_rows(**model)) co_return co_await answered_by(b->inner, rq, *body);
  Counted counted(*model);
  rider->form = form_of_rows(rider->rows);
  rider->count = rider->rows.size();
  rider->bytes = body->size();
  rider->order = order_of(rq.headers.get("Priority"), {});
  rider->model = *model;
  co_await b->queue_of(**model)->ride(rider);
  if (!*rider->answer) co_return refused(rider->answer->error());
  counted.answered();
  co_return http::Response::json(
      200, fmt::format(R"({{"message":"","batchId":"{}","predictions":{}}})", rider->batch_id, **rider->answer));
}

}  // namespace

http::Handler with_batcher(http::Handler inner, Repository& repository, BatcherOptions options) {
  auto b = std::make_shared<Batcher>(std::move(inner), repository, options);
  return [b](http::Request& rq) -> BatchReply {
    auto name = predicted_model(rq);
    return name.empty() ? b->inner(rq) : predict_in_batch(b, rq, std::move(name));
  };
}

std::string form_of_rows(const boost::json::array& rows) {
  auto cell = [](const boost::json::value& v) {
    return v.is_int64() || v.is_uint64() ? 'n'
           : v.is_double()               ? 'd'
           : v.is_string()               ? 't'
           : v.is_bool()                 ? 'b'
           : v.is_null()                 ? '0'
                                         : '\0';
  };
  std::string first, form;
  for (const auto& row : rows) {
    form.clear();
    if (const auto* list = row.if_array()) {
      form = "[";
      for (const auto& v : *list) form += cell(v);
    } else if (const auto* object = row.if_object()) {
      form = "{";
      for (const auto& [k, v] : *object) (form += std::string_view(k)) += std::string{'\n', cell(v)};
    } else if (row.is_string()) {
      form = "t";
    }
    if (form.empty() || form.contains('\0')) return {};
    if (first.empty()) first = form;
    if (form != first) return {};
  }
  return first;
}

std::optional<std::vector<std::string_view>> elements_of(std::string_view s) {
  if (s.size() < 2 || s.front() != '[' || s.back() != ']') return std::nullopt;
  s = s.substr(1, s.size() - 2);
  std::vector<std::string_view> out;
  std::size_t from = 0, depth = 0;
  bool quoted = false;
  for (std::size_t i = 0; i < s.size(); ++i) {
    const char c = s[i];
    if (quoted) {
      if (c == '\\') ++i;
      quoted = c != '"';
    } else if (c == '"') {
      quoted = true;
    } else if (c == '[' || c == '{') {
      ++depth;
    } else if (c == ']' || c == '}') {
      if (depth-- == 0) return std::nullopt;
    } else if (c == ',' && depth == 0) {
      out.push_back(s.substr(from, i - from));
      from = i + 1;
    }
  }
  if (quoted || depth != 0) return std::nullopt;
  if (!s.empty()) out.push_back(s.substr(from));
  return out;
}

}  // namespace mr::serving
