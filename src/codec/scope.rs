//! What a run looked at, so that a reader groups its containers in the same way.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::domain::claims::Claims;
use crate::domain::label::Condition;
use crate::domain::scope::{Protection, Scope, Stack};
use crate::domain::selector::Selector;

pub(super) fn encode(scope: &Scope) -> Value {
    let stacks: Vec<Value> = scope
        .stacks
        .iter()
        .map(|stack| {
            json!({
                "name": &*stack.name,
                "claims": stack.claims.selectors().map(conditions).collect::<Vec<_>>(),
                "teardown": stack.protection == Protection::Removable,
            })
        })
        .collect();
    json!({
        "families": scope.families.iter().map(conditions).collect::<Vec<_>>(),
        "stacks": stacks,
        "group_by": scope.group_by,
    })
}

fn conditions(selector: &Selector) -> Vec<String> {
    selector.conditions().map(ToString::to_string).collect()
}

#[derive(Deserialize)]
pub(super) struct ScopeFields {
    #[serde(default)]
    families: Vec<Vec<String>>,
    #[serde(default)]
    stacks: Vec<StackFields>,
    #[serde(default)]
    group_by: Option<String>,
}

#[derive(Deserialize)]
struct StackFields {
    name: String,
    #[serde(default)]
    claims: Vec<Vec<String>>,
    #[serde(default)]
    teardown: bool,
}

impl ScopeFields {
    /// Without the selectors that cannot be read. What a teardown needs to know is not in it.
    pub(super) fn scope(self) -> Scope {
        Scope {
            families: selectors(self.families),
            stacks: self
                .stacks
                .into_iter()
                .filter_map(StackFields::stack)
                .collect(),
            group_by: self.group_by,
        }
    }
}

impl StackFields {
    fn stack(self) -> Option<Stack> {
        let mut claims = selectors(self.claims).into_iter();
        Some(Stack {
            name: self.name.into(),
            claims: Claims::new(claims.next()?, claims),
            spawner: None,
            state_dirs: Vec::new(),
            protection: if self.teardown {
                Protection::Removable
            } else {
                Protection::Protected
            },
            compose_project: None,
            run_guard: None,
        })
    }
}

fn selectors(written: Vec<Vec<String>>) -> Vec<Selector> {
    let selector = |conditions: Vec<String>| {
        let parsed: Result<Vec<Condition>, _> =
            conditions.iter().map(|text| text.parse()).collect();
        Selector::from_conditions(parsed.ok()?)
    };
    written.into_iter().filter_map(selector).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(value: Value) -> Scope {
        serde_json::from_value::<ScopeFields>(value)
            .unwrap()
            .scope()
    }

    #[test]
    fn a_scope_comes_back_with_all_that_places_a_container() {
        let selector =
            |condition: &str| Selector::from_conditions([condition.parse().unwrap()]).unwrap();
        let scope = Scope {
            families: vec![selector("a=1"), selector("b")],
            stacks: vec![Stack {
                name: "tenant".into(),
                claims: Claims::new(selector("c="), [selector("d=x=y")]),
                spawner: None,
                state_dirs: Vec::new(),
                protection: Protection::Removable,
                compose_project: None,
                run_guard: None,
            }],
            group_by: Some("e".to_owned()),
        };
        assert_eq!(decoded(encode(&scope)), scope);
        assert_eq!(decoded(json!({})), Scope::default());
    }

    #[test]
    fn half_a_selector_would_match_more_so_it_matches_nothing() {
        let scope = decoded(json!({
            "families": [["a=1", "=oops"], [], ["b"]],
            "stacks": [{ "name": "x", "claims": [["=oops"]] }],
        }));
        let only = Selector::new(Condition::present("b"), []);
        assert_eq!((scope.families, scope.stacks), (vec![only], Vec::new()));
    }
}
