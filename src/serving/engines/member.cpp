#include "serving/engines/member.h"

#include "serving/engines/rows.h"

namespace mr::serving {

namespace {

// Of two classes only the second's column.
Frame without_first_of_two(Frame f) {
  if (f.columns != 2) return f;
  std::vector<double> second(f.rows);
  for (std::size_t r = 0; r < f.rows; ++r) second[r] = f.data[2 * r + 1];
  auto out = frame_of(f.rows, 1, std::move(second));
  out.f32 = f.f32;
  return out;
}

}  // namespace

std::optional<Method> method_named(std::string_view name) {
  if (name == "predict") return Method::predict;
  if (name == "predict_proba") return Method::predict_proba;
  if (name == "decision_function") return Method::decision_function;
  return std::nullopt;
}

Result<std::pair<Frame, Method>> Member::response(const Frame& in) const {
  // What an estimator lacks it says at each call; the answer is kept, so that a pipeline's steps run once.
  for (auto method = known_.load(std::memory_order_relaxed);;) {
    auto out = scores(in, method);
    if (out) {
      known_.store(method, std::memory_order_relaxed);
      return std::pair{std::move(*out), method};
    }
    if (out.error().code != Code::unimplemented || method == Method::predict) return std::unexpected(out.error());
    method = method == Method::decision_function ? Method::predict_proba : Method::predict;
  }
}

Result<Frame> Member::scores(const Frame& in, Method method) const {
  if (method == Method::predict) return numbers(in);
  if (method == Method::decision_function) return estimator_->decision_function(in);
  MR_TRY(auto p, estimator_->predict_proba(in));
  return without_first_of_two(std::move(p));
}

Result<Frame> Member::numbers(const Frame& in) const {
  MR_TRY(auto out, estimator_->predict(in));
  if (!out.texts.empty())
    return fail(Code::unimplemented, estimator_->name + " answers texts where the model needs numbers");
  auto f = frame_of(out.rows, out.width, std::move(out.numbers));
  f.f32 = out.type == DataType::fp32;
  return f;
}

Result<std::deque<Member>> read_members(Build& b, NodeId id, std::string_view attribute) {
  std::deque<Member> members;
  for (auto item : b.items(id, attribute)) {
    MR_TRY(auto made, b.estimator(item));
    members.emplace_back(std::move(made));
  }
  if (members.empty()) return b.bad(id, fmt::format("it has no {}: is it fitted?", attribute));
  return members;
}

bool all_take_sparse(const std::deque<Member>& members) {
  return std::all_of(members.begin(), members.end(), [](const Member& m) { return m->takes_sparse(); });
}

Frame beside(const std::vector<Frame>& parts) {
  std::size_t width = 0;
  for (const auto& p : parts) width += p.columns;
  const auto rows = parts.empty() ? 0 : parts[0].rows;
  std::vector<double> data;
  data.reserve(rows * width);
  for (std::size_t r = 0; r < rows; ++r)
    for (const auto& p : parts) {
      auto from = p.data.begin() + static_cast<std::ptrdiff_t>(r * p.columns);
      data.insert(data.end(), from, from + static_cast<std::ptrdiff_t>(p.columns));
    }
  auto out = frame_of(rows, width, std::move(data));
  out.f32 = !parts.empty() && std::all_of(parts.begin(), parts.end(), [](const Frame& p) { return p.f32; });
  return out;
}

}  // namespace mr::serving
