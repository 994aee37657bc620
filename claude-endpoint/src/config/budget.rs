//! What questions may cost, and what is kept of them.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use clap::builder::BoolishValueParser;
use clap::{ArgAction, Args};

use crate::budget::{Budgets, OverBudget};
use crate::desk::Terms;
use crate::prices::{self, Prices};
use crate::reviewer::Reviewer;

#[derive(Debug, Clone, Args)]
pub(super) struct BudgetArgs {
    /// Most USD that all questions of a day (UTC) may cost [default: no limit]
    #[arg(long, env = "BUDGET_DAILY_USD", value_name = "USD")]
    budget_daily_usd: Option<f64>,
    /// Most USD that one review may cost, with all of its questions and attempts [default: no limit]
    #[arg(long, env = "BUDGET_REVIEW_USD", value_name = "USD")]
    budget_review_usd: Option<f64>,
    /// What is done where the usual model could exceed a budget
    #[arg(long, env = "OVER_BUDGET", default_value = "cheaper")]
    over_budget: OverBudget,
    /// USD per million tokens read and written (and, if it is not a tenth, read from the cache), by the beginning of
    /// the model's name; check them against your price list
    #[arg(long, env = "MODEL_PRICES", default_value = prices::DEFAULT, value_name = "NAME=IN/OUT[/CACHED],…")]
    model_prices: Prices,
    /// Whether each finding is checked by a separate question to the cheaper model
    #[arg(long, env = "SECOND_LOOK", default_value = "on", value_parser = BoolishValueParser::new(), action = ArgAction::Set)]
    second_look: bool,
    /// Folder in which all questions and answers are recorded, without secrets [default: nothing is recorded]
    #[arg(long, env = "RECORD_DIR", value_name = "FOLDER")]
    record_dir: Option<PathBuf>,
}

/// How questions are asked, and what is kept of them.
#[derive(Debug, Clone, Default)]
pub struct DeskSettings {
    /// Deadline, budgets and prices.
    pub terms: Terms,
    /// Who is asked for nothing where a budget is used up.
    pub ollama: Option<Arc<dyn Reviewer>>,
    /// The ledger's file; in memory without one.
    pub ledger: Option<PathBuf>,
    /// Where questions are recorded.
    pub record_dir: Option<PathBuf>,
}

/// The ledger's file.
pub(super) fn ledger(data_dir: &Path) -> PathBuf {
    data_dir.join("ledger.jsonl")
}

impl BudgetArgs {
    /// `timeout` is for one question; `models` are those that could be asked and cost something.
    pub(super) fn settings(
        &self,
        timeout: Duration,
        models: &[&str],
        ollama: impl FnOnce() -> anyhow::Result<Arc<dyn Reviewer>>,
        data_dir: &Path,
    ) -> anyhow::Result<DeskSettings> {
        for (name, budget) in
            [("BUDGET_DAILY_USD", self.budget_daily_usd), ("BUDGET_REVIEW_USD", self.budget_review_usd)]
        {
            let usable = budget.is_none_or(|usd| usd.is_finite() && usd > 0.0);
            ensure!(usable, "{name} must be more than 0; without it nothing is limited");
        }
        let budgets = Budgets {
            daily_usd: self.budget_daily_usd,
            review_usd: self.budget_review_usd,
            over: self.over_budget,
        };
        let prices = self.model_prices.clone();
        for model in models.iter().filter(|_| !budgets.are_endless()) {
            prices
                .of(model)
                .with_context(|| format!("a budget is set, and MODEL_PRICES has no price for {model}"))?;
        }
        let ollama = match budgets.over {
            OverBudget::Ollama if !budgets.are_endless() => Some(ollama()?),
            _ => None,
        };
        let terms = Terms { timeout, budgets, prices, second_look: self.second_look };
        Ok(DeskSettings {
            terms,
            ollama,
            ledger: Some(ledger(data_dir)),
            record_dir: self.record_dir.clone(),
        })
    }
}
