// The parts of compile(): internal to the room.
#pragma once
#include "pipelines/plan.h"
#include "pipelines/spec_fields.h"

namespace mr::pipelines {

// The DAG of a component: its tasks, linked, ordered, checked against the components they name.
// `index_of` holds every component's name -> index; `components` are read already, save their DAGs.
Result<void> compile_dag(const Value& dag, const std::string& path, const std::map<std::string, std::size_t>& index_of,
                         std::vector<Component>& components, std::size_t self, Problems& problems);
Result<ArtifactType> read_artifact_type(const Value& v, const std::string& path, Problems& problems);
// What the container's texts name must be among the component's inputs and outputs.
Result<void> check_placeholders(const Component& c, Problems& problems);

}  // namespace mr::pipelines
