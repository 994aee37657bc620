//! Which model a budget allows. Pure.

use std::fmt;

/// What questions may cost.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Budgets {
    /// For all questions of a day (UTC), in USD.
    pub daily_usd: Option<f64>,
    /// For all questions of one event, in USD.
    pub review_usd: Option<f64>,
    /// What is done where the usual model would exceed one of them.
    pub over: OverBudget,
}

/// `OVER_BUDGET`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum OverBudget {
    /// The cheaper model is asked, if that is within the budget.
    #[default]
    Cheaper,
    /// Ollama is asked.
    Ollama,
    /// Nobody is asked.
    Skip,
}

/// What is spent, or held for questions under way.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Spent {
    /// By all events of this day.
    pub today: f64,
    /// By this event, at any time.
    pub review: f64,
}

/// What a review is estimated to cost, in USD.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// With the usual model.
    pub usual: f64,
    /// With the cheaper one, if there is one.
    pub cheaper: Option<f64>,
}

/// Who is asked.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Decision {
    /// The usual model.
    Usual,
    /// The cheaper one.
    Cheaper(Over),
    /// Ollama, which costs nothing.
    Ollama(Over),
    /// Nobody: the usual model would exceed a budget, and so would the cheaper one where that is allowed.
    Skip(Over),
}

/// The budget that stands in the way.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Over {
    limit: Limit,
    usd: f64,
    is_used_up: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Limit {
    Day,
    Review,
}

impl Budgets {
    /// Who may be asked after so much was spent.
    pub fn decide(&self, spent: Spent, estimate: Estimate) -> Decision {
        let Some(over) = self.over(spent, estimate.usual) else { return Decision::Usual };
        match self.over {
            OverBudget::Skip => Decision::Skip(over),
            OverBudget::Ollama => Decision::Ollama(over),
            OverBudget::Cheaper => match estimate.cheaper.map(|cost| self.over(spent, cost)) {
                Some(None) => Decision::Cheaper(over),
                Some(Some(over)) => Decision::Skip(over),
                None => Decision::Skip(over),
            },
        }
    }

    /// The budget that something of this cost would exceed. What costs nothing exceeds none.
    pub fn over(&self, spent: Spent, cost: f64) -> Option<Over> {
        let over = |limit, budget: Option<f64>, spent: f64| {
            let usd = budget.filter(|budget| spent + cost > *budget)?;
            Some(Over { limit, usd, is_used_up: spent >= usd })
        };
        let day = || over(Limit::Day, self.daily_usd, spent.today);
        let review = || over(Limit::Review, self.review_usd, spent.review);
        if cost > 0.0 { day().or_else(review) } else { None }
    }

    /// Whether nothing is limited.
    pub fn are_endless(&self) -> bool {
        self.daily_usd.is_none() && self.review_usd.is_none()
    }
}

/// As in "asked …, since …".
impl fmt::Display for Over {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { limit, usd, is_used_up } = self;
        let budget = match limit {
            Limit::Day => format!("today's budget of ${usd:.2}"),
            Limit::Review => format!("the budget of ${usd:.2} for one review"),
        };
        match is_used_up {
            true => write!(f, "{budget} is used up"),
            false => write!(f, "it could exceed {budget}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const COSTS: Estimate = Estimate { usual: 1.0, cheaper: Some(0.2) };

    fn budgets(daily_usd: Option<f64>, review_usd: Option<f64>, over: OverBudget) -> Budgets {
        Budgets { daily_usd, review_usd, over }
    }

    fn decide(budgets: Budgets, today: f64, review: f64, estimate: Estimate) -> String {
        match budgets.decide(Spent { today, review }, estimate) {
            Decision::Usual => "usual".to_owned(),
            Decision::Cheaper(over) => format!("cheaper, since {over}"),
            Decision::Ollama(over) => format!("ollama, since {over}"),
            Decision::Skip(over) => format!("nobody, since {over}"),
        }
    }

    #[test]
    fn without_a_budget_the_usual_model_is_asked() {
        assert_eq!(decide(Budgets::default(), 1e9, 1e9, COSTS), "usual");
        assert!(Budgets::default().are_endless());
    }

    #[test]
    fn a_budget_is_kept_by_what_is_set() {
        use OverBudget::{Cheaper, Ollama, Skip};
        let daily = |over| budgets(Some(5.0), None, over);
        let each = |over| budgets(None, Some(1.5), over);
        let dear = Estimate { usual: 1.0, cheaper: None };
        for (budgets, today, review, costs, decision) in [
            (daily(Cheaper), 4.0, 9.0, COSTS, "usual"),
            (daily(Cheaper), 4.5, 0.0, COSTS, "cheaper, since it could exceed today's budget of $5.00"),
            (daily(Cheaper), 4.9, 0.0, COSTS, "nobody, since it could exceed today's budget of $5.00"),
            (daily(Cheaper), 5.0, 0.0, COSTS, "nobody, since today's budget of $5.00 is used up"),
            (daily(Cheaper), 4.5, 0.0, dear, "nobody, since it could exceed today's budget of $5.00"),
            (daily(Ollama), 5.5, 0.0, COSTS, "ollama, since today's budget of $5.00 is used up"),
            (daily(Skip), 4.5, 0.0, COSTS, "nobody, since it could exceed today's budget of $5.00"),
            (each(Cheaper), 99.0, 0.5, COSTS, "usual"),
            (
                each(Cheaper),
                0.0,
                0.6,
                COSTS,
                "cheaper, since it could exceed the budget of $1.50 for one review",
            ),
            (each(Cheaper), 0.0, 1.5, COSTS, "nobody, since the budget of $1.50 for one review is used up"),
            (each(Ollama), 0.0, 1.5, COSTS, "ollama, since the budget of $1.50 for one review is used up"),
            (each(Skip), 0.0, 1.5, COSTS, "nobody, since the budget of $1.50 for one review is used up"),
        ] {
            assert_eq!(decide(budgets, today, review, costs), decision, "{budgets:?} {today} {review}");
        }
    }

    #[test]
    fn what_costs_nothing_exceeds_nothing() {
        let free = Estimate { usual: 0.0, cheaper: None };
        assert_eq!(decide(budgets(Some(5.0), Some(1.0), OverBudget::Skip), 5.0, 1.0, free), "usual");
    }

    #[derive(Debug, Clone)]
    struct Step {
        estimate: Estimate,
        /// What it costs in the end, as a multiple of the estimate.
        error: f64,
    }

    fn step() -> impl Strategy<Value = Step> {
        let cheaper = proptest::option::of(0.0..2.0);
        ((0.0..2.0), cheaper, (0.0..3.0)).prop_map(|(usual, cheaper, error)| {
            let cheaper = cheaper.map(|cost: f64| cost.min(usual));
            Step { estimate: Estimate { usual, cheaper }, error }
        })
    }

    proptest! {
        /// The sum of a day is above the budget by no more than the last estimate was wrong.
        #[test]
        fn a_day_costs_its_budget_and_an_estimates_error(
            steps in proptest::collection::vec(step(), 1..60), daily in 0.1..8.0,
            over in prop_oneof![Just(OverBudget::Cheaper), Just(OverBudget::Ollama), Just(OverBudget::Skip)],
        ) {
            let budgets = budgets(Some(daily), None, over);
            let mut today = 0.0;
            for Step { estimate, error } in steps {
                let chosen = match budgets.decide(Spent { today, review: 0.0 }, estimate) {
                    Decision::Usual => estimate.usual,
                    Decision::Cheaper(_) => estimate.cheaper.unwrap(),
                    Decision::Ollama(_) | Decision::Skip(_) => 0.0,
                };
                let wrong_by = (chosen * error - chosen).max(0.0);
                today += chosen * error;
                prop_assert!(chosen == 0.0 || today <= daily + wrong_by + 1e-9);
            }
        }

        /// The better model is asked whenever it is within the budget, and nobody only where no allowed one is.
        #[test]
        fn no_budget_is_left_unused(step in step(), today in 0.0..10.0, review in 0.0..3.0) {
            let budgets = budgets(Some(5.0), Some(1.0), OverBudget::Cheaper);
            let fits = |cost: f64| cost <= 0.0 || (today + cost <= 5.0 && review + cost <= 1.0);
            let cheaper = step.estimate.cheaper.is_some_and(fits);
            match budgets.decide(Spent { today, review }, step.estimate) {
                Decision::Usual => prop_assert!(fits(step.estimate.usual)),
                Decision::Cheaper(_) => prop_assert!(!fits(step.estimate.usual) && cheaper),
                Decision::Skip(_) => prop_assert!(!fits(step.estimate.usual) && !cheaper),
                Decision::Ollama(_) => prop_assert!(false),
            }
        }
    }
}
