// An estimator within another: what the outer one asks of it. Thread safe.
#pragma once
#include <atomic>

#include "serving/engines/estimator.h"

namespace mr::serving {

// What a method is called where models name one.
enum class Method : std::uint8_t { predict, predict_proba, decision_function };
std::optional<Method> method_named(std::string_view name);

class Member {
 public:
  explicit Member(EstimatorPtr e) : estimator_(std::move(e)) {}
  const Estimator* operator->() const { return estimator_.get(); }
  const Estimator& operator*() const { return *estimator_; }

  // decision_function, of an estimator without it predict_proba, of one without both predict; which one it was.
  [[nodiscard]] Result<std::pair<Frame, Method>> response(const Frame& in) const;
  // The answer of a method as numbers: a column for the second of two classes, or one for each of more.
  [[nodiscard]] Result<Frame> scores(const Frame& in, Method method) const;
  // predict's answer, refused where it is texts.
  [[nodiscard]] Result<Frame> numbers(const Frame& in) const;

 private:
  EstimatorPtr estimator_;
  mutable std::atomic<Method> known_ = Method::decision_function;  // what response() has found to be there
};

// Estimators in a list or an object array; at least one. Errors name the attribute.
Result<std::deque<Member>> read_members(Build& build, NodeId id, std::string_view attribute);
// Whether all members take sparse rows.
bool all_take_sparse(const std::deque<Member>& members);
// Frames of as many rows, side by side; 32-bit floats if all are.
Frame beside(const std::vector<Frame>& parts);

// Parts of add_meta().
void add_multi(Makers& makers);
void add_targets(Makers& makers);

}  // namespace mr::serving
